"""Old command lines, run as a person runs them on a small folder of real pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

RUN_SECONDS = 240


def digits(folder: Path, labels: int = 3, images_a_label: int = 60) -> Path:
    """Handwritten digits in folders 'Digit 0', 'Digit 1', ..., half of them JPEG, half PNG."""
    from sklearn.datasets import load_digits

    known = load_digits()
    for label in range(labels):
        rows = [row for row, target in enumerate(known.target) if target == label]
        for row in rows[:images_a_label]:
            path = folder / f"Digit {label}" / f"{row:04d}.{'jpg' if row % 2 else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = (known.images[row] * (255 / 16)).round().astype("uint8")
            Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC).save(path)
    return folder


def run(
    module: str, *arguments: str | Path, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m linnaeus.training.<module> ...` in a folder, to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"linnaeus.training.{module}", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
