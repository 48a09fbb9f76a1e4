"""IDX files, the form in which MNIST and its kin are given away, read and unpacked.

An IDX file is a big-endian int32 magic number (0x0800 for unsigned bytes, plus the number of
dimensions), the dimensions as big-endian int32, then the values, the last index running fastest
(Yann LeCun, The MNIST database). This is also a program, which makes PNG files of a pair:

    python -m linnaeus.datasets.idx IMAGES-IDX LABELS-IDX --to DIR [--split train|test]
"""

from __future__ import annotations

import argparse
import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from linnaeus.datasets.pictures import png
from linnaeus.datasets.placing import Sample, write_absent
from linnaeus.errors import ConfigurationError, LinnaeusError
from linnaeus.plain_text import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNSIGNED_BYTES = 0x0800
MOST_DIMENSIONS = 255
GZIP = b"\x1f\x8b"
LABELS, IMAGES = 1, 3
"""Dimensions of either file: labels [n], grey pictures [n, height, width]."""
_CONTENTS = {LABELS: "labels", IMAGES: "images"}


def read_idx(data: bytes) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes, gzipped or not.

    Raises:
        ValueError: If it is no such file, or its length is not what its header says.
    """
    import numpy as np

    data = _inflated(data)
    dimensions = int.from_bytes(data[:4], "big") - UNSIGNED_BYTES
    start = 4 * (1 + dimensions)
    if len(data) < 4 or not 1 <= dimensions <= MOST_DIMENSIONS or len(data) < start:
        raise ValueError(f"no IDX file of unsigned bytes: it begins with 0x{data[:4].hex()}")
    shape = [int(size) for size in np.frombuffer(data[4:start], ">u4")]
    expected = int(np.prod(shape, dtype=object))
    if len(data) - start != expected:
        raise ValueError(
            f"damaged: {len(data) - start:,} bytes follow a header that announces "
            f"{' x '.join(map(str, shape))}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def samples(images: Path, labels: Path, split: str = "") -> Iterator[Sample]:
    """The pictures of a pair of files, as PNG files named `[<split>/]<label>/<row>.png`.

    Raises:
        ConfigurationError: If a file cannot be read, has other contents, or the two do not go
            together; the message names it.
    """
    pictures, digits = _read(images, IMAGES), _read(labels, LABELS)
    if len(pictures) != len(digits):
        raise ConfigurationError(
            f"{images} has {len(pictures):,} images, but {labels} has {len(digits):,} labels: "
            "name the two files of one set"
        )
    return samples_of(pictures, digits, split)


def samples_of(
    pictures: NDArray[np.uint8], labels: NDArray[np.uint8], split: str = ""
) -> Iterator[Sample]:
    """The same of arrays: pictures [n, height, width], labels [n]."""
    folder = f"{split}/" if split else ""
    for row, (pixels, label) in enumerate(zip(pictures, labels, strict=True)):
        yield Sample(f"{folder}{label}/{row:05d}.png", str(label), png(pixels), split)


def unpack(images: Path, labels: Path, to: Path, split: str = "") -> int:
    """Write the pictures below `to`, those that are there left alone, and count them.

    Raises ConfigurationError as `samples` does.
    """
    count = 0
    for sample in samples(images, labels, split):
        write_absent(to / sample.name, sample.data)
        count += 1
    return count


def _inflated(data: bytes) -> bytes:
    if not data.startswith(GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as e:
        raise ValueError(f"damaged: {e}") from e


def _read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    wanted = _CONTENTS[dimensions]
    try:
        values = read_idx(path.read_bytes())
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise ConfigurationError(f"{path}: {reason}; an IDX file of {wanted} is needed") from e
    if values.ndim != dimensions:
        found = _CONTENTS.get(values.ndim, f"items of {values.ndim - 1} dimensions")
        raise ConfigurationError(
            f"{path} has {found}, not {wanted}: the images come first, then the labels"
        )
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Unpack a pair of files; 0, or 2 with a line on standard error."""
    parser = argparse.ArgumentParser("python -m linnaeus.datasets.idx", description=unpack.__doc__)
    parser.add_argument("images", type=Path, metavar="IMAGES-IDX")
    parser.add_argument("labels", type=Path, metavar="LABELS-IDX")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split", choices=["train", "test"], default="")
    asked = parser.parse_args(arguments)
    try:
        count = unpack(asked.images, asked.labels, asked.to, asked.split)
    except LinnaeusError as e:
        print(one_line(e), file=sys.stderr)
        return 2
    print(f"{count:,} pictures in {asked.to / asked.split}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
