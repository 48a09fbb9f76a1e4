"""The pictures of a training, decoded once into a file, and read from there in batches.

The file holds height * width * 3 bytes an image: 150 kB at 224 pixels, so 15 GB for 100,000
images. It is mapped, not loaded: memory holds what the system sees fit to keep of it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from linnaeus.images.isolation import decode
from linnaeus.process import processors
from linnaeus.records import ObjectReference
from linnaeus.storage import read_object
from linnaeus.tables import memory_map
from linnaeus.training.data.examples import Examples
from linnaeus.training.heads.batches import Rows
from linnaeus.worker import Source, decoded

COMPUTED_AT_ONCE = 32

Report = Callable[[int], None]
Vary = Callable[[NDArray[np.uint8], int, int], NDArray[np.uint8]]
"""A picture, the epoch and the image's row to the picture as that epoch sees it."""


@dataclass(frozen=True)
class Pictures:
    """What could be read of some images."""

    pixels: NDArray[np.uint8]
    """[n, H, W, 3], memory-mapped; undefined in other rows than `rows`"""
    rows: Rows
    """Positions of the images that could be read and decoded."""


def read_pictures(
    uris: list[str], digests: list[str], size: tuple[int, int], to: Path, report: Report
) -> Pictures:
    """Decodes images of known contents, all different, at (height, width) into the file `to`.

    An image that cannot be read or decoded, or has another content now, is left out.
    """
    pixels = memory_map((len(uris), *size, 3), to, np.uint8)
    row_of = {digest: row for row, digest in enumerate(digests)}
    source = Source(
        read=lambda reference: read_object(reference.uri, None),
        decode=lambda data: decode(data, *size),
    )
    rows = []
    outcomes = decoded([ObjectReference(uri, None, 0) for uri in uris], source)
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome.payload, np.ndarray) and outcome.sha256 in row_of:
            rows.append(row_of[outcome.sha256])
            pixels[rows[-1]] = outcome.payload
        report(done)
    return Pictures(pixels, np.sort(np.array(rows, np.int64)))


@dataclass(frozen=True)
class Stream:
    """Batches of some images."""

    inputs: NDArray[Any]
    """[n, ...]: pixels, or what a network made of them"""
    rows: Rows
    """The images there are, as positions in `inputs` and `examples`."""
    examples: Examples
    batch_size: int
    vary: Vary | None = None
    parts: int = 1
    """Into how many equal parts a batch has to be divisible."""

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, order: Rows | None = None, epoch: int = 0) -> tf.data.Dataset:
        """Batches of (inputs, targets, weights, one over the batch's images), as `Examples` has.

        `order` has positions in `rows`; by default all of them, one after the other. All batches
        have one shape: a short one is filled up with its own images once more, at weight 0.
        """
        order = np.arange(len(self)) if order is None else order
        size = min(self.batch_size, len(self))
        filled = math.ceil(size / self.parts) * self.parts
        examples = self.examples

        def load(places: Rows) -> tuple[Any, Any, Any, Any]:
            rows = self.rows[np.resize(places, filled)]
            weights = examples.weights[rows] * (np.arange(filled) < len(places))
            share = np.full(filled, 1 / len(places), np.float32)
            return self._inputs(rows, epoch), examples.targets[rows], weights, share

        def loaded(places: tf.Tensor) -> tuple[tf.Tensor, ...]:
            types = (self.inputs.dtype, examples.targets.dtype, np.float32, np.float32)
            tensors = tf.numpy_function(load, [places], types, stateful=False)
            shapes = (self._shape, examples.targets.shape[1:], (), ())
            return tuple(
                tf.ensure_shape(tensor, (filled, *shape))
                for tensor, shape in zip(tensors, shapes, strict=True)
            )

        places = tf.data.Dataset.from_tensor_slices(order).batch(size)
        return places.map(loaded, num_parallel_calls=processors()).prefetch(2)

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of the inputs of one image."""
        if self.vary is None:
            return self.inputs.shape[1:]
        return self.vary(self.inputs[0], 0, 0).shape

    def _inputs(self, rows: Rows, epoch: int) -> NDArray[Any]:
        if self.vary is None:
            inputs: NDArray[Any] = self.inputs[rows]
            return inputs
        return np.stack([self.vary(self.inputs[row], epoch, int(row)) for row in rows])


def computed(
    pictures: Pictures, network: Callable[[tf.Tensor], tf.Tensor], to: Path, report: Report
) -> NDArray[np.float32]:
    """What a network makes of all pictures, [n, ...], memory-mapped in the file `to`."""
    height, width, _ = pictures.pixels.shape[1:]
    given = tf.TensorSpec([None, height, width, 3], tf.uint8)
    traced = tf.function(network, input_signature=[given]).get_concrete_function()
    shape = (len(pictures.pixels), *traced.output_shapes[1:])
    values: NDArray[np.float32] = memory_map(shape, to)
    for start in range(0, len(pictures.rows), COMPUTED_AT_ONCE):
        rows = pictures.rows[start : start + COMPUTED_AT_ONCE]
        values[rows] = traced(tf.constant(pictures.pixels[rows])).numpy()
        report(start + len(rows))
    return values
