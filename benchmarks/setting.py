"""What all measurements of a run share: pictures, and workspaces to start from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import pictures
from linnaeus import backbones, preparation
from linnaeus.backbones import BackboneSpec
from linnaeus.process import import_openvino
from linnaeus.storage import Folder
from linnaeus.training.config import TrainConfig

BACKBONE = "efficientnet-lite0"
MODEL = "bench"
FEW = 32


@dataclass(frozen=True)
class Setting:
    """Sizes of what is measured, and the folder where it is kept between runs."""

    data: str
    images: int
    """Pictures that are embedded."""
    stored: int
    """Rows of the workspace that already has its embeddings."""

    @property
    def pictures(self) -> Path:
        """The pictures to measure with."""
        return Path(self.data) / f"pictures-{self.images}"

    @property
    def few_pictures(self) -> Path:
        """The first of them, too few to measure more than a job's start-up."""
        return Path(self.data) / f"pictures-{self.few}"

    @property
    def few(self) -> int:
        """How few."""
        return max(1, min(FEW, self.images // 10))

    @property
    def home(self) -> Folder:
        """A workspace with backbones, the pictures' float32 embeddings and a model of them."""
        return Folder(str(Path(self.data) / f"workspace-{self.images}"))

    def files(self) -> list[Path]:
        """The pictures' files, sorted."""
        return pictures.files(self.pictures)

    def spec(self, precision: str = "float32") -> BackboneSpec:
        """The backbone in that precision, prepared by `set_up`."""
        return preparation.prepare(self.home, BACKBONE, precision)

    def backbone_files(self, precision: str = "float32") -> Path:
        """Its files on this machine."""
        return backbones.local_files(self.home, self.spec(precision).fingerprint)


def set_up(setting: Setting) -> None:
    """Make what is missing of the pictures and of the workspace at `setting.home`."""
    from linnaeus.workspace import Workspace

    for folder, count in (
        (setting.pictures, setting.images),
        (setting.few_pictures, setting.few),
    ):
        pictures.make(folder, count)
    for precision in precisions():
        setting.spec(precision)
    workspace = Workspace(setting.home.uri)
    workspace.embed(str(setting.pictures), BACKBONE)
    workspace.train(str(setting.pictures), MODEL, TrainConfig(backbone=BACKBONE))


def precisions() -> list[str]:
    """Those that this CPU has instructions for and that are measured."""
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["float32", "bfloat16"] if "BF16" in capabilities else ["float32"]


@contextmanager
def fresh_workspace(setting: Setting, *sources: Path) -> Iterator[Folder]:
    """A workspace with the home's backbones and models, and what `sources` hold; then gone.

    Files are shared by hard links, which is safe: a workspace never changes one, it replaces it.
    """
    with TemporaryDirectory(prefix="scratch-", dir=setting.data) as folder:
        home = Path(setting.home.uri)
        for source, name in ((home, "backbones"), (home, "models"), *((s, ".") for s in sources)):
            shutil.copytree(
                source / name, Path(folder) / name, copy_function=os.link, dirs_exist_ok=True
            )
        yield Folder(folder)
