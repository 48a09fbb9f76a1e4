import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from linnaeus import preparation
from linnaeus.storage import Folder


def prepare(root: Path) -> None:
    preparation.prepare(Folder(str(root)), "pixels@8")


@pytest.fixture(scope="session")
def prepared_once(made_once) -> Path:
    """A workspace with a small backbone, whose preparation needs TensorFlow."""
    return made_once(prepare)


@pytest.fixture
def prepared(prepared_once: Path, tmp_path: Path) -> Callable[[str], Folder]:
    """Makes workspaces that have the small backbone."""

    def make(name: str) -> Folder:
        shutil.copytree(prepared_once, tmp_path / name)
        return Folder(str(tmp_path / name))

    return make
