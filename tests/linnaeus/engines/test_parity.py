"""Every engine gives the vectors of the network, on noise and on real pictures."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from linnaeus.engines import open_engine
from linnaeus.preparation.conversion import relative_distance

pytestmark = pytest.mark.slow

ENGINES = ("openvino", "litert", "tensorflow")
TOLERANCE = 1e-4


@pytest.fixture(params=ENGINES)
def engine(request, mobile_network):
    opened = open_engine(mobile_network.files, mobile_network.spec, request.param)
    assert opened.name == request.param
    yield opened
    opened.close()


def test_vectors_are_those_of_the_network(engine, mobile_network):
    found = engine.embed(mobile_network.pixels)
    assert found.dtype == np.float32
    assert relative_distance(mobile_network.expected, found) < TOLERANCE


def test_swapped_channels_and_missing_normalisation_would_be_seen(engine, mobile_network):
    swapped = engine.embed(mobile_network.pixels[..., ::-1])
    assert relative_distance(mobile_network.expected, swapped) > 100 * TOLERANCE
    shifted = engine.embed(mobile_network.pixels // 2 + 64)
    assert relative_distance(mobile_network.expected, shifted) > 100 * TOLERANCE


def test_the_other_images_of_a_batch_do_not_matter(engine, mobile_network):
    together = engine.embed(mobile_network.pixels)
    alone = np.concatenate([engine.embed(image[np.newaxis]) for image in mobile_network.pixels])
    assert relative_distance(together, alone) < 1e-6


def test_stream_gives_every_key_its_vector(engine, mobile_network):
    images = ((f"key {i}", image) for i, image in enumerate(mobile_network.pixels))
    found = dict(engine.stream(images))
    assert len(found) == len(mobile_network.pixels)
    rows = np.stack([found[f"key {i}"] for i in range(len(found))])
    assert relative_distance(mobile_network.expected, rows) < TOLERANCE


def test_stream_pulls_lazily(engine, mobile_network):
    pulled = []

    def images():
        for key in range(1000):
            pulled.append(key)
            yield key, mobile_network.pixels[key % 19]

    stream = engine.stream(images())
    assert pulled == []
    next(stream)
    assert len(pulled) <= 64
    stream.close()


def test_an_exception_of_the_source_comes_out(engine, mobile_network):
    def images():
        yield "first", mobile_network.pixels[0]
        raise OSError("the bucket is gone")

    with pytest.raises(OSError, match="the bucket is gone"):
        list(engine.stream(images()))


def test_an_image_of_another_size_is_refused(engine, mobile_network):
    with pytest.raises(ValueError, match="takes uint8"):
        list(engine.stream([("key", mobile_network.pixels[0][1:])]))


def test_threads_that_share_an_engine_get_their_own_vectors(engine, mobile_network):
    distances = []

    def work(shift):
        pixels = np.roll(mobile_network.pixels, shift, axis=0)
        expected = np.roll(mobile_network.expected, shift, axis=0)
        distances.extend(relative_distance(expected, engine.embed(pixels)) for _ in range(5))

    threads = [threading.Thread(target=work, args=(shift,)) for shift in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(distances) == 15
    assert max(distances) < TOLERANCE


def test_engines_agree_on_photographs(lite0):
    from skimage import data

    files, spec = lite0.files, lite0.spec
    photographs = [data.chelsea(), data.coffee(), data.astronaut(), data.rocket()]
    size = (spec.width, spec.height)
    pixels = np.stack([np.asarray(Image.fromarray(p).resize(size)) for p in photographs])
    vectors = {name: open_engine(files, spec, name).embed(pixels) for name in ENGINES}
    for name in ("openvino", "litert"):
        assert relative_distance(vectors["tensorflow"], vectors[name]) < TOLERANCE
    blue_first = open_engine(files, spec, "openvino").embed(pixels[..., ::-1])
    assert relative_distance(vectors["tensorflow"], blue_first) > 100 * TOLERANCE
