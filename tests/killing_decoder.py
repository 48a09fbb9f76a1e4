"""A decoder that one picture kills, as a defect in a native library would."""

import os

from linnaeus import images
from linnaeus.images import Limits, Picture

KILLER = b"\x89PNG\r\n\x1a\n kill"
_decode = images.decode


def decode(data: bytes, height: int, width: int, limits: Limits = Limits()) -> Picture:  # noqa: B008
    if data == KILLER:
        os.abort()
    return _decode(data, height, width, limits)


def never(data: bytes, height: int, width: int, limits: Limits) -> Picture:
    raise AssertionError("decoded in a process of its own")
