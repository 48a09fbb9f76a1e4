"""Folders of small pictures that stand for buckets, and workers for them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from linnaeus.planning import RunSpec
from linnaeus.records import Prediction
from linnaeus.storage import Folder
from linnaeus.worker import Worker
from tests.pixel_engine import SIZE, SPEC, PixelEngine


def png(seed: int, size: int = SIZE) -> bytes:
    """A picture of noise, its own for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def fill(folder: Path, pictures: int, first: int = 0) -> Path:
    """Put pictures into two folders, `even` and `odd`."""
    for number in range(first, first + pictures):
        path = folder / ("odd" if number % 2 else "even") / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return folder


class BrightnessScorer:
    """Answers without a server: `bright` or `dark`, by the mean of a vector."""

    def __init__(self) -> None:
        self.asked = 0

    def score(self, model, version, signature, rows):
        for key, vector in rows:
            self.asked += 1
            bright = float(np.mean(vector))
            names = ["bright", "dark"] if bright > 0.5 else ["dark", "bright"]
            score = max(bright, 1 - bright)
            yield key, Prediction(names[0], score, names[:1], names, [score, 1 - score])

    def close(self) -> None:
        pass


class TestWorker(Worker):
    """A worker with the pixel engine and the brightness scorer."""

    __test__ = False

    def __init__(self, workspace: Folder, run: RunSpec) -> None:
        super().__init__(workspace, run, open_scorer=BrightnessScorer)
        self.__dict__["spec"] = SPEC
        self.__dict__["engine"] = PixelEngine()
