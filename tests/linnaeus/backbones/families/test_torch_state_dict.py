import io
import itertools
import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus.backbones.families.torch_state_dict import MAGIC_NUMBER, read_state_dict
from linnaeus.errors import ConfigurationError

SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"long": 4}}


@dataclass(frozen=True)
class Global:
    """Pickles as a reference to a name, so that no torch is needed to write its files."""

    module: str
    name: str

    def __call__(self) -> None: ...


@dataclass(frozen=True)
class Storage:
    key: str
    kind: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Tensor:
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __reduce__(self) -> Any:
        view = (self.storage, self.offset, self.shape, self.strides, False, OrderedDict())
        return Global("torch._utils", "_rebuild_tensor_v2"), view


class LegacyPickler(pickle._Pickler):  # the one in Python: its table of types can be extended
    def save_name(self, value: Global) -> None:
        self.write(b"c" + f"{value.module}\n{value.name}\n".encode())

    dispatch: ClassVar = {**pickle._Pickler.dispatch, Global: save_name}

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Storage):
            return None
        kind = Global("torch", value.kind)
        return "storage", kind, value.key, "cpu", len(value.values), None


DTYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "ByteStorage": "<u1"}


def legacy_file(path: Path, tensors: Any, storages: list[Storage], magic: int = MAGIC_NUMBER):
    buffer = io.BytesIO()
    keys = [storage.key for storage in storages]
    for value in (magic, 1001, SYSTEM, tensors, keys):
        LegacyPickler(buffer, protocol=2).dump(value)
    for storage in storages:
        buffer.write(struct.pack("<q", len(storage.values)))
        buffer.write(np.array(storage.values, DTYPES[storage.kind]).tobytes())
    path.write_bytes(buffer.getvalue())
    return path


def element(tensor: Tensor, index: tuple[int, ...]) -> float:
    steps = (place * stride for place, stride in zip(index, tensor.strides, strict=True))
    return tensor.storage.values[tensor.offset + sum(steps)]


@st.composite
def strided_tensors(draw: st.DrawFn, key: str) -> Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=4).map(tuple))
    strides = tuple(draw(st.integers(0, 7)) for _ in shape)
    offset = draw(st.integers(0, 5))
    reach = offset + sum(max(n - 1, 0) * s for n, s in zip(shape, strides, strict=True)) + 1
    kind = draw(st.sampled_from(sorted(DTYPES)))
    values = draw(st.lists(st.integers(0, 255), min_size=reach, max_size=reach + 3))
    return Tensor(Storage(key, kind, tuple(values)), offset, shape, strides)


@given(first=strided_tensors("1"), second=strided_tensors("2"))
def test_every_element_is_the_one_the_strides_name(
    tmp_path_factory: pytest.TempPathFactory, first: Tensor, second: Tensor
):
    path = tmp_path_factory.mktemp("torch") / "weights.pth"
    legacy_file(path, {"a": first, "b": second}, [second.storage, first.storage])
    read = read_state_dict(path)
    for name, tensor in (("a", first), ("b", second)):
        assert read[name].shape == tensor.shape
        assert read[name].dtype == DTYPES[tensor.storage.kind]
        for index in itertools.product(*map(range, tensor.shape)):
            assert read[name][index] == element(tensor, index)


def test_two_tensors_may_share_a_storage(tmp_path: Path):
    storage = Storage("1", "FloatStorage", (0, 1, 2, 3))
    tensors = {"even": Tensor(storage, 0, (2,), (2,)), "odd": Tensor(storage, 1, (2,), (2,))}
    read = read_state_dict(legacy_file(tmp_path / "weights.pth", tensors, [storage]))
    assert read["even"].tolist() == [0, 2]
    assert read["odd"].tolist() == [1, 3]


FOUR = Storage("1", "FloatStorage", (0, 1, 2, 3))


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (Tensor(FOUR, 0, (5,), (1,)), "beyond"),
        (Tensor(FOUR, 1, (2, 2), (2, 1)), "beyond"),
        (Tensor(FOUR, 3, (2,), (-1,)), "strides"),
        (Tensor(FOUR, -1, (2,), (1,)), "strides"),
        (Tensor(FOUR, 0, (2, 2), (1,)), "strides"),
        (Tensor(FOUR, 0, (-1,), (1,)), "beyond"),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path: Path, tensor: Tensor, reason: str):
    path = legacy_file(tmp_path / "weights.pth", {"a": tensor}, [FOUR])
    with pytest.raises(ConfigurationError, match=reason):
        read_state_dict(path)


class Hostile:
    def __reduce__(self) -> Any:
        return Global("os", "getcwd"), ()


@pytest.mark.parametrize("value", [Hostile(), {"a": Hostile()}, {"a": Global("builtins", "eval")}])
def test_a_file_that_names_other_code_is_refused_unrun(tmp_path: Path, value: Any):
    with pytest.raises(ConfigurationError, match="no place in a state dict"):
        read_state_dict(legacy_file(tmp_path / "weights.pth", value, []))


def test_a_file_cut_anywhere_is_refused(tmp_path: Path):
    whole = legacy_file(tmp_path / "weights.pth", {"a": Tensor(FOUR, 0, (4,), (1,))}, [FOUR])
    data = whole.read_bytes()
    for length in range(len(data)):
        cut = tmp_path / "cut.pth"
        cut.write_bytes(data[:length])
        with pytest.raises(ConfigurationError, match="legacy format"):
            read_state_dict(cut)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 the later zip format", b"\x89HDF\r\n\x1a\n"])
def test_other_formats_are_refused(tmp_path: Path, data: bytes):
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"weights\.pth is not a state dict"):
        read_state_dict(path)


def test_another_magic_number_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="magic number"):
        read_state_dict(legacy_file(tmp_path / "weights.pth", {}, [], magic=1))


def test_values_that_are_no_tensors_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="something else than named tensors"):
        read_state_dict(legacy_file(tmp_path / "weights.pth", {"epoch": 3}, []))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"absent\.pth cannot be read"):
        read_state_dict(tmp_path / "absent.pth")
