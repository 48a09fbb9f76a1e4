"""Batches for engines that are faster with several images than with one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones import BackboneSpec
from linnaeus.engines.engine import check_pixels
from linnaeus.engines.memory import Ceiling, ceiling

K = TypeVar("K")

Vector = NDArray[np.float32]
Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 `[batch, H, W, 3]` to float32 `[batch, D]`; the batch changes its size only to a half."""


def stream_in_batches(
    network: Network,
    images: Iterable[tuple[K, NDArray[np.uint8]]],
    shape: tuple[int, int, int],
    ceiling: Ceiling,
) -> Iterator[tuple[K, NDArray[np.float32]]]:
    """Embed images as they come; see `linnaeus.engines.Engine.stream`.

    Args:
        network: embeds one full batch.
        images: keys with `[height, width, 3]`.
        shape: `(height, width, 3)`.
        ceiling: how many images make a batch; falls to a half when these are too many. A last
            batch that is not full is filled up with what the batch before left there.

    Raises:
        EngineError: there is not enough memory for a single image.
    """
    batch = np.zeros((ceiling.images, *shape), np.uint8)
    images = iter(images)
    while keys := _fill(batch, islice(images, min(len(batch), ceiling.images))):
        yield from zip(keys, _rows(network, batch, len(keys), ceiling), strict=True)


def _rows(
    network: Network, batch: NDArray[np.uint8], count: int, ceiling: Ceiling
) -> Iterator[Vector]:
    """Vectors of the first `count` images, as many together as memory has room for.

    Every call takes a whole batch, so that networks need not be laid out anew for a remainder.
    """
    done = 0
    while done < count:
        size = min(len(batch), ceiling.images)
        start = min(done, len(batch) - size)
        try:
            rows = network(batch[start : start + size])
        except Exception as error:
            ceiling.lower(size, error)
            continue
        yield from rows[done - start : count - start]
        done = start + size


def _fill(batch: NDArray[np.uint8], images: Iterable[tuple[K, NDArray[np.uint8]]]) -> list[K]:
    """Copy images into the batch, which keeps the rest of what it has; their keys."""
    keys = []
    for row, (key, pixels) in zip(batch, images, strict=False):
        check_pixels(pixels, batch.shape[1:])
        row[:] = pixels
        keys.append(key)
    return keys


def embed_in_order(
    stream: Callable[[Iterable[tuple[int, NDArray[np.uint8]]]], Iterator[tuple[int, Vector]]],
    pixels: NDArray[np.uint8],
    size: int,
) -> NDArray[np.float32]:
    """Embed `[N, H, W, 3]` as `[N, size]` by an engine's `stream`, in the order of `pixels`."""
    rows = np.empty((len(pixels), size), np.float32)
    for index, row in stream(enumerate(pixels)):
        rows[index] = row
    return rows


class BatchEngine(ABC):
    """An engine that takes whole batches; see `linnaeus.engines.Engine`."""

    name: str

    def __init__(self, spec: BackboneSpec, batch_images: int) -> None:
        self._ceiling = ceiling(self.name, spec.fingerprint, spec.name, batch_images)
        self._shape = (spec.height, spec.width, 3)
        self._size = spec.embedding_size

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed `[N, height, width, 3]` as `[N, embedding_size]`, in order."""
        return embed_in_order(self.stream, pixels, self._size)

    def stream(
        self, images: Iterable[tuple[K, NDArray[np.uint8]]]
    ) -> Iterator[tuple[K, NDArray[np.float32]]]:
        """Embed images as they come; see `Engine.stream`."""
        return stream_in_batches(self._network, images, self._shape, self._ceiling)

    @abstractmethod
    def _network(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A `Network`."""
