"""Hashes that tell weights apart, equal on every machine."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones.spec import StoredFile


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored_files(root: Path, below: str = "") -> tuple[StoredFile, ...]:
    """The files below `root/below`, hashed, by their paths relative to `root`."""
    return tuple(
        StoredFile(path.relative_to(root).as_posix(), path.stat().st_size, file_sha256(path))
        for path in sorted((root / below).rglob("*"))
        if path.is_file()
    )


def tree_sha256(root: Path) -> str:
    """Hash of a folder's files and their relative paths; times and owners do not count."""
    return json_sha256([[file.path, file.sha256] for file in stored_files(root)])


def arrays_sha256(arrays: Iterable[NDArray[Any]]) -> str:
    """Hash of arrays in their order: shapes, dtypes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def json_sha256(value: Mapping[str, Any] | list[Any]) -> str:
    """Hash of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


FINGERPRINT_DIGITS = 20
