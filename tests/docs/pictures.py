"""Small pictures of one colour each, in folders `red` and `blue`: what the pages call photos.

python -m tests.docs.pictures FOLDER [EACH [FIRST]]
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 60, 50), "blue": (50, 70, 190)}
EACH = 12


def pictures(each: int = EACH, first: int = 0) -> Iterator[tuple[str, bytes]]:
    """From keys, such as `red/0001.jpg`, to JPEG files."""
    for colour, middle in COLOURS.items():
        for seed in range(first, first + each):
            noise = np.random.default_rng(seed).normal(0, 25, (32, 32, 3))
            pixels = np.clip(np.array(middle) + noise, 0, 255).astype(np.uint8)
            sink = io.BytesIO()
            Image.fromarray(pixels).save(sink, "JPEG")
            yield f"{colour}/{seed:04d}.jpg", sink.getvalue()


def main(folder: str, *numbers: str) -> None:
    """Write them below a folder."""
    for key, data in pictures(*map(int, numbers)):
        path = Path(folder) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
