"""A small engine that is a real one: a picture's vector is its downscaled pixels."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones import BackboneSpec

K = TypeVar("K")
SIZE = 8

SPEC = BackboneSpec(
    name="pixels@8",
    fingerprint="f0f0f0f0f0f0f0f0",
    height=SIZE,
    width=SIZE,
    embedding_size=SIZE * SIZE * 3,
    precision="float32",
    licence="none",
    preprocessing="test",
)


class PixelEngine:
    """Counts how many pictures it embeds."""

    name = "pixels"

    def __init__(self) -> None:
        self.embedded = 0

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.embedded += len(pixels)
        return pixels.reshape(len(pixels), -1).astype(np.float32) / 255

    def stream(
        self, images: Iterable[tuple[K, NDArray[np.uint8]]]
    ) -> Iterator[tuple[K, NDArray[np.float32]]]:
        for key, pixels in images:
            yield key, self.embed(pixels[None])[0]

    def close(self) -> None:
        pass
