"""Engines whose network asks for more memory than there is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus.engines import open_engine
from linnaeus.engines.batches import stream_in_batches
from linnaeus.engines.memory import Ceiling
from linnaeus.errors import EngineError
from linnaeus.process import import_openvino
from tests.linnaeus.conftest import HEIGHT, WIDTH, a_spec, some_pixels

REFUSAL = "Backbone small needs more memory than is left here, even for one image: choose"
_names = itertools.count()


class Limited:
    """A network of sums that takes so many images at a time, another number in each call."""

    def __init__(self, limits: list[int]) -> None:
        self._limits = itertools.chain(limits, itertools.repeat(limits[-1]))
        self.sizes: list[int] = []

    def __call__(self, batch):
        if len(batch) > next(self._limits):
            raise MemoryError
        self.sizes.append(len(batch))
        return batch.sum(axis=(1, 2, 3), dtype=np.float32)[:, None]


@given(
    images=st.integers(0, 50),
    batch=st.integers(1, 20),
    limits=st.lists(st.integers(1, 20), min_size=1, max_size=30),
)
def test_every_image_gets_its_vector_once_and_in_order(images, batch, limits):
    pixels = np.random.default_rng(images).integers(0, 256, (images, 2, 2, 3), np.uint8)
    network, ceiling = Limited(limits), Ceiling("small", batch)
    found = list(stream_in_batches(network, enumerate(pixels), (2, 2, 3), ceiling))
    assert [key for key, _ in found] == list(range(images))
    assert [row[0] for _, row in found] == [float(image.sum()) for image in pixels]
    assert network.sizes == sorted(network.sizes, reverse=True)
    assert 1 <= ceiling.images <= batch


@given(batch=st.integers(1, 64), limit=st.integers(1, 64))
def test_the_ceiling_falls_by_halves_to_the_first_that_fits(batch, limit):
    ceiling = Ceiling("small", batch)
    images = enumerate(np.zeros((200, 1, 1, 3), np.uint8))
    assert len(list(stream_in_batches(Limited([limit]), images, (1, 1, 3), ceiling))) == 200
    halves = itertools.accumulate(itertools.repeat(batch, 8), lambda size, _: size // 2)
    assert ceiling.images == next(size for size in halves if size <= limit)


def test_an_image_that_does_not_fit_alone_ends_with_backbone_and_remedy():
    images = enumerate(np.zeros((5, 1, 1, 3), np.uint8))
    with pytest.raises(EngineError, match=REFUSAL):
        list(stream_in_batches(Limited([0]), images, (1, 1, 3), Ceiling("small", 8)))


def test_other_errors_of_a_network_come_out_as_they_are():
    def network(batch):
        raise RuntimeError("the cable is loose")

    ceiling = Ceiling("small", 8)
    images = enumerate(np.zeros((5, 1, 1, 3), np.uint8))
    with pytest.raises(RuntimeError, match="cable"):
        list(stream_in_batches(network, images, (1, 1, 3), ceiling))
    assert ceiling.images == 8


def save_hungry_network(folder: Path, most: int) -> None:
    """A SavedModel that asks for 2^50 bytes when it gets more images than `most`."""
    import tensorflow as tf

    def embed(pixels):
        rows = tf.reduce_mean(tf.cast(pixels, tf.float32), axis=(1, 2))
        count = tf.shape(pixels, tf.int64)[0]
        eaten = tf.where(count > most, tf.constant(2**48, tf.int64), 1)
        return {"embedding": rows + 0 * tf.reduce_mean(tf.random.uniform([eaten]))}

    module = tf.Module()
    taken = tf.TensorSpec([None, HEIGHT, WIDTH, 3], tf.uint8, name="pixels")
    module.embed = tf.function(embed, input_signature=[taken])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.embed})


@pytest.fixture
def spec():
    """Of a backbone that this process has never met, so that it has no ceiling yet."""
    return replace(a_spec(values=3), fingerprint=f"{next(_names):020d}")


@pytest.mark.slow
@pytest.mark.parametrize("most", [2, 1])
def test_tensorflow_goes_on_with_smaller_batches_and_remembers(tmp_path, spec, most, monkeypatch):
    monkeypatch.setattr(
        "linnaeus.engines.tensorflow.CPU_BATCH_IMAGES", 2
    )  # each failure takes 10 s
    save_hungry_network(tmp_path / "tensorflow", most)
    pixels = some_pixels(19)
    engine = open_engine(tmp_path, spec, "tensorflow")
    np.testing.assert_allclose(engine.embed(pixels), pixels.mean(axis=(1, 2)), rtol=1e-5)
    engine.close()
    again = open_engine(tmp_path, spec, "tensorflow")
    assert again._ceiling.images == most
    np.testing.assert_allclose(again.embed(pixels), pixels.mean(axis=(1, 2)), rtol=1e-5)
    again.close()


@pytest.mark.slow
def test_tensorflow_without_room_for_one_image_says_so(tmp_path, spec, monkeypatch):
    monkeypatch.setattr("linnaeus.engines.tensorflow.CPU_BATCH_IMAGES", 1)
    save_hungry_network(tmp_path / "tensorflow", 0)
    with pytest.raises(EngineError, match=REFUSAL):
        open_engine(tmp_path, spec, "tensorflow").embed(some_pixels(3))


def test_openvino_without_room_for_one_image_says_so(tmp_path, spec):
    openvino = import_openvino()
    op = openvino.opset13
    pixels = op.parameter([-1, HEIGHT, WIDTH, 3], np.uint8, name="pixels")
    means = op.reduce_mean(op.convert(pixels, "f32"), np.array([1, 2]))
    # A side that is known only when it runs: 2^20 where a picture is brighter than 0.
    bright = op.reduce_max(op.ceiling(op.divide(means, np.float32(256))), np.array([0, 1]))
    side = op.convert(op.power(np.float32(2), op.multiply(bright, np.float32(20))), "i32")
    square = op.concat([op.unsqueeze(side, 0)] * 2, 0)
    eaten = op.sin(op.broadcast(np.float32(0), square))
    rows = op.add(means, op.reduce_mean(eaten, np.array([0, 1])))
    (tmp_path / "openvino").mkdir()
    network = openvino.Model([rows], [pixels], "hungry")
    openvino.save_model(network, str(tmp_path / "openvino" / "model.xml"))
    engine = open_engine(tmp_path, spec, "openvino")
    dark = np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)
    assert np.array_equal(engine.embed(dark), np.zeros((2, 3)))
    with pytest.raises(EngineError, match=REFUSAL):
        engine.embed(some_pixels(2))
