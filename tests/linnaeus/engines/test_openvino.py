from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

from linnaeus.engines import open_engine
from linnaeus.engines.engine import Tuning
from linnaeus.preparation.conversion import relative_distance

REQUESTS = 3


@pytest.fixture
def engine(convolution):
    opened = open_engine(convolution.files, convolution.spec, "openvino", Tuning(requests=REQUESTS))
    yield opened
    opened.close()


def test_vectors_are_those_of_the_network(engine, convolution):
    assert relative_distance(convolution.expected, engine.embed(convolution.pixels)) < 1e-6


def test_vectors_are_bit_identical_however_images_are_grouped(engine, convolution):
    pixels = convolution.pixels
    alone = np.concatenate([engine.embed(pixels[i : i + 1]) for i in range(len(pixels))])
    for size in (2, 7, len(pixels)):
        groups = [engine.embed(pixels[i : i + size]) for i in range(0, len(pixels), size)]
        assert np.array_equal(np.concatenate(groups), alone)


def test_no_images_give_no_vectors(engine, convolution):
    assert engine.embed(convolution.pixels[:0]).shape == (0, convolution.spec.embedding_size)
    assert list(engine.stream(())) == []


def test_stream_pulls_no_more_images_than_are_in_flight(engine, convolution):
    pulled = 0

    def images():
        nonlocal pulled
        for key, pixels in enumerate(convolution.pixels):
            pulled += 1
            yield key, pixels

    stream = engine.stream(images())
    assert pulled == 0
    for yielded, _ in enumerate(stream):
        assert pulled - yielded <= REQUESTS + 1
    assert yielded + 1 == len(convolution.pixels)


def test_an_array_may_be_used_again_for_the_next_image(engine, convolution):
    buffer = np.empty_like(convolution.pixels[0])

    def images():
        for key, pixels in enumerate(convolution.pixels):
            buffer[:] = pixels
            yield key, buffer

    found = dict(engine.stream(images()))
    rows = np.stack([found[key] for key in range(len(convolution.pixels))])
    assert relative_distance(convolution.expected, rows) < 1e-6


def test_read_only_and_strided_images_are_taken(engine, convolution):
    mirrored = convolution.pixels[:, :, ::-1]
    mirrored.flags.writeable = False
    expected = engine.embed(np.ascontiguousarray(mirrored))
    assert np.array_equal(engine.embed(mirrored), expected)


def test_an_exception_of_the_source_comes_out_and_the_engine_goes_on(engine, convolution):
    def images():
        yield from enumerate(convolution.pixels[:5])
        raise OSError("the bucket is gone")

    with pytest.raises(OSError, match="the bucket is gone"):
        list(engine.stream(images()))
    assert relative_distance(convolution.expected, engine.embed(convolution.pixels)) < 1e-6


@pytest.mark.parametrize("wrong", ["size", "channels", "type", "batch"])
def test_an_image_that_does_not_fit_is_refused_by_its_shape(engine, convolution, wrong):
    image = convolution.pixels[0]
    misfits = {
        "size": image[1:],
        "channels": image[:, :, :1],
        "type": image.astype(np.float32),
        "batch": image[np.newaxis],
    }
    with pytest.raises(ValueError, match=r"takes uint8 \[20, 28, 3\], not "):
        list(engine.stream([("key", misfits[wrong])]))


def test_a_stream_closed_early_closes_its_source_and_keeps_no_image(engine, convolution):
    kept, closed = [], []

    def images():
        try:
            for key, pixels in enumerate(convolution.pixels):
                image = pixels.copy()
                kept.append(weakref.ref(image))
                yield key, image
        finally:
            closed.append(True)

    source = images()
    stream = engine.stream(source)
    next(stream)
    stream.close()
    del stream, source
    gc.collect()
    assert closed == [True]
    assert len(kept) == REQUESTS + 1
    assert [ref() for ref in kept] == [None] * len(kept)


def test_threads_that_share_an_engine_get_their_own_vectors(engine, convolution):
    failures = []

    def work(name):
        pixels = np.roll(convolution.pixels, name, axis=0)
        expected = np.roll(convolution.expected, name, axis=0)
        for _ in range(5):
            found = dict(engine.stream(((name, i), image) for i, image in enumerate(pixels)))
            rows = np.stack([found[name, i] for i in range(len(pixels))])
            if relative_distance(expected, rows) > 1e-6:
                failures.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert failures == []


def test_precision_does_not_depend_on_the_cpu(convolution):
    engine = open_engine(convolution.files, convolution.spec, "openvino")
    assert str(engine._compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"


def test_tuning_sets_threads_and_networks(convolution):
    tuning = Tuning(threads=1, streams=1)
    engine = open_engine(convolution.files, convolution.spec, "openvino", tuning)
    assert engine._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert engine._compiled.get_property("NUM_STREAMS") == 1


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["engine.close()", "sys.exit(0)"])
def test_a_process_ends_cleanly_right_after_streaming(convolution, ending):
    """With Python callbacks OpenVINO aborts or hangs here, in most runs."""
    script = f"""
import sys
from pathlib import Path
import numpy as np
from linnaeus.backbones import BackboneSpec
from linnaeus.engines import open_engine
spec = BackboneSpec.from_json({convolution.spec.to_json()!r}, "")
engine = open_engine(Path({str(convolution.files)!r}), spec, "openvino")
pixels = np.zeros((64, spec.height, spec.width, 3), np.uint8)
stream = engine.stream(enumerate(pixels))
for _ in range(20):
    next(stream)
{ending}
"""
    for _ in range(5):
        ended = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stderr
