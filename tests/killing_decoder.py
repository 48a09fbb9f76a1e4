"""A decoder that some pictures kill, as a defect in a native library would."""

import os

import numpy as np

from linnaeus import images
from linnaeus.images import Limits, Picture

KILLER = b"\x89PNG\r\n\x1a\n kill"
GLUTTON = b"\x89PNG\r\n\x1a\n fill"
_decode = images.decode


def decode(data: bytes, height: int, width: int, limits: Limits = Limits()) -> Picture:  # noqa: B008
    if data == KILLER:
        os.abort()
    if data == GLUTTON:
        fill_memory()
    return _decode(data, height, width, limits)


def fill_memory() -> None:
    """Take memory until there is none: the system then kills the process, or gives no more."""
    limit = int(os.environ.get("GLUTTON_BYTES", 16 << 30))
    taken = []
    while sum(map(len, taken)) < limit:
        taken.append(np.ones(64 << 20, np.uint8))
    os.kill(os.getpid(), 9)  # what the system does to a process that takes too much


def never(data: bytes, height: int, width: int, limits: Limits) -> Picture:
    raise AssertionError("decoded in a process of its own")
