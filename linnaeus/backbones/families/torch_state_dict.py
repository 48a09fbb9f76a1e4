"""Read a state dict in torch's legacy file format, without torch and without running its code.

The file is a sequence of pickles (magic number, protocol version, system information, the
state dict whose tensors refer to storages by persistent ids, the list of storage keys), then for
each key an int64 count and the storage's raw little-endian values. Source: `_legacy_save` and
`_rebuild_tensor_v2` in torch/serialization.py and torch/_utils.py.
"""

import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001

_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _View:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors by name, contiguous, in the shapes and dtypes they were saved with.

    Raises ConfigurationError for anything but a legacy file holding a flat state dict.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise ConfigurationError(
            f"{path} is not a state dict in torch's legacy format ({error}): "
            "get the file again, or from another source."
        ) from error


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    _check_header(file)
    views = _load(file)
    keys = _load(file)
    if not isinstance(views, dict) or not all(isinstance(v, _View) for v in views.values()):
        raise ValueError("it holds something else than named tensors")
    dtypes = {view.storage.key: view.storage.dtype for view in views.values()}
    storages = {key: _read_storage(file, dtypes[key]) for key in keys}
    return {name: _strided(view, storages) for name, view in views.items()}


def _check_header(file: BinaryIO) -> None:
    if _load(file) != MAGIC_NUMBER:
        raise ValueError("the magic number is missing")
    if _load(file) != PROTOCOL_VERSION:
        raise ValueError("the protocol version is unknown")
    if not _load(file)["little_endian"]:
        raise ValueError("it is big-endian")


def _load(file: BinaryIO) -> Any:
    return _StateDictUnpickler(file).load()


class _StateDictUnpickler(pickle.Unpickler):
    """Admits the names a state dict is made of; every other one is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state dict")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, count, *view = pid
        if kind != "storage" or view not in ([], [None]):
            raise pickle.UnpicklingError("a reference is not to a whole storage")
        return _Storage(key, dtype, count)


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _View:
    return _View(storage, offset, shape, strides)


def _read_storage(file: BinaryIO, dtype: str) -> NDArray[Any]:
    (count,) = struct.unpack("<q", file.read(8))
    data = file.read(count * np.dtype(dtype).itemsize)
    values = np.frombuffer(data, dtype)
    if len(values) != count:
        raise ValueError("it ends in the middle of a tensor")
    return values


def _strided(view: _View, storages: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The elements the view selects: `values[offset + sum(index * stride)]` for each index."""
    values = storages[view.storage.key]
    _check_bounds(view, len(values))
    steps = [stride * values.itemsize for stride in view.strides]
    selected = np.lib.stride_tricks.as_strided(values[view.offset :], view.shape, steps)
    return np.array(selected)


def _check_bounds(view: _View, count: int) -> None:
    if len(view.shape) != len(view.strides) or min((*view.strides, view.offset), default=0) < 0:
        raise ValueError("a tensor has impossible strides")
    last = view.offset + sum(
        (size - 1) * step for size, step in zip(view.shape, view.strides, strict=True)
    )
    if min(view.shape, default=1) < 0 or (0 not in view.shape and last >= count):
        raise ValueError("a tensor reaches beyond its storage")
