"""One trained model over a small bucket, made once; each test works in a copy."""

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linnaeus import Workspace
from linnaeus.training.config import TrainConfig
from tests.servers import served

BACKBONE = "pixels@8"
COLOURS = {"red": (200, 60, 50), "green": (60, 180, 70), "blue": (50, 70, 190)}


def picture(colour: str, seed: int, kind: str = "JPEG", size: int = 40) -> bytes:
    """A noisy picture of one colour."""
    noise = np.random.default_rng(seed).normal(0, 25, (size, size, 3))
    pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind)
    return sink.getvalue()


def fill(folder: Path, each: int, first: int = 0) -> Path:
    """Put pictures into a folder for each colour."""
    for colour in COLOURS:
        (folder / colour).mkdir(parents=True, exist_ok=True)
        for seed in range(first, first + each):
            (folder / colour / f"{seed:04d}.jpg").write_bytes(picture(colour, seed))
    return folder


@dataclass(frozen=True)
class Loop:
    """A bucket, and a workspace in which model `colours` is trained on it."""

    bucket: Path
    root: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(str(self.root))


def train(folder: Path) -> None:
    loop = Loop(fill(folder / "bucket", 40), folder / "workspace")
    loop.workspace.embed(str(loop.bucket), BACKBONE)
    loop.workspace.train(str(loop.bucket), "colours", TrainConfig(backbone=BACKBONE))


@pytest.fixture(scope="session")
def trained(made_once) -> Loop:
    folder = made_once(train)
    return Loop(folder / "bucket", folder / "workspace")


@pytest.fixture
def loop(trained: Loop, tmp_path: Path) -> Loop:
    """The bucket, and a copy of the workspace."""
    return Loop(trained.bucket, Path(shutil.copytree(trained.root, tmp_path / "workspace")))


@pytest.fixture(scope="session")
def server(trained: Loop) -> Iterator[str]:
    """The embedded server with model `colours`."""
    with served(str(trained.root), "colours", 1) as address:
        yield address
