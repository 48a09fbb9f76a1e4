"""Photographs to measure with: JPEGs of 640 x 480 that compress as a camera's do (60-120 kB).

Packages carry a dozen photographs; each picture is a random part of one, mirrored and exposed
anew, with the noise of a sensor. Picture number i is the same on every machine.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 640, 480
QUALITY = 90
NOISE_GREY_LEVELS = 5.0
MODIFIED_SECONDS = 1_600_000_000
"""A fixed date: what was written just now is read again by every run."""

Photograph = NDArray[np.uint8]
"""`[H, W, 3]`, RGB"""


def make(folder: Path, count: int) -> Path:
    """Bring `count` pictures into `folder`, below one folder a label; those there stay."""
    missing = [number for number in range(count) if not _path(folder, number).exists()]
    if missing:
        sources = photographs()
        for number in missing:
            _write(_path(folder, number), picture(sources, number))
    return folder


def files(folder: Path) -> list[Path]:
    """All pictures of a folder, sorted."""
    return sorted(folder.rglob("*.jpg"))


def photographs() -> list[Photograph]:
    """The colour photographs that scikit-image and scikit-learn carry."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    left, right, _ = data.stereo_motorcycle()
    others = (data.astronaut, data.chelsea, data.coffee, data.rocket, data.retina)
    return [*load_sample_images().images, left, right, *(load() for load in others)]


def picture(sources: list[Photograph], number: int, width: int = WIDTH) -> Image.Image:
    """Picture number `number`, decoded; its sides are as WIDTH and HEIGHT."""
    random = np.random.default_rng(number)
    source = Image.fromarray(sources[number % len(sources)])
    part = source.resize(
        (width, width * HEIGHT // WIDTH),
        Image.Resampling.BICUBIC,
        box=_window(source.size, random),
    )
    values = np.asarray(part, np.float32)[:, :: random.choice([-1, 1])]
    noise = random.normal(0, NOISE_GREY_LEVELS, values.shape)
    exposed = values * random.uniform(0.8, 1.1) + noise
    return Image.fromarray(np.clip(exposed, 0, 255).astype(np.uint8))


def _window(
    size: tuple[int, int], random: np.random.Generator
) -> tuple[float, float, float, float]:
    """A random part of 70-100 % of the largest one with the pictures' aspect ratio."""
    width, height = size
    scale = random.uniform(0.7, 1.0) * min(width / WIDTH, height / HEIGHT)
    left = random.uniform(0, width - scale * WIDTH)
    top = random.uniform(0, height - scale * HEIGHT)
    return left, top, left + scale * WIDTH, top + scale * HEIGHT


def _path(folder: Path, number: int) -> Path:
    return folder / ("even" if number % 2 == 0 else "odd") / f"{number:06d}.jpg"


def _write(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    image.save(partial, "JPEG", quality=QUALITY)
    os.utime(partial, (MODIFIED_SECONDS, MODIFIED_SECONDS))
    partial.replace(path)
