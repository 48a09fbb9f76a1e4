"""Real pictures to learn from, a folder a label: parts of photographs that packages carry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

LABELS = ("cat", "coffee", "daisy", "rocket", "temple")


def fill(
    folder: Path,
    images: int,
    labels: tuple[str, ...] = LABELS,
    first: int = 0,
    largest: float = 0.8,
) -> Path:
    """Write `images` JPEG files a label; the same number is the same picture everywhere.

    `largest` is the share of a photograph's height that a picture shows at most, and twice the
    least: small parts are hard to tell apart.
    """
    known = _photographs()
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + images):
            crop(known[label], number, largest).save(
                folder / label / f"{number:03d}.jpg", quality=90
            )
    return folder


def crop(photograph: Image.Image, number: int, largest: float, side: int = 96) -> Image.Image:
    """A random square of a photograph, perhaps mirrored, exposed anew."""
    random = np.random.default_rng(number)
    width, height = photograph.size
    edge = random.uniform(largest / 2, largest) * min(width, height)
    left, top = random.uniform(0, width - edge), random.uniform(0, height - edge)
    square = photograph.resize((side, side), box=(left, top, left + edge, top + edge))
    turned = ImageOps.mirror(square) if random.random() < 0.5 else square
    exposed = np.asarray(turned, np.float32) * random.uniform(0.8, 1.2)
    return Image.fromarray(np.clip(exposed, 0, 255).astype(np.uint8))


def _photographs() -> dict[str, Image.Image]:
    from skimage import data
    from sklearn.datasets import load_sample_images

    temple, daisy = load_sample_images().images
    pixels = data.chelsea(), data.coffee(), daisy, data.rocket(), temple
    return {label: Image.fromarray(one) for label, one in zip(LABELS, pixels, strict=True)}
