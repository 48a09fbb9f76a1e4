"""NumPy arrays to TensorProto messages and back, without TensorFlow.

Works on the real stubs' TensorProto and on `serving.protocol.wire`'s alike. Requests carry
`tensor_content`, raw little-endian bytes; TensorFlow Serving answers in the typed `*_val` fields.
Strings are object arrays of `bytes`; who writes may also give `str`, and NumPy's own text.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.protocol.messages import Schema, declare

try:
    from ml_dtypes import bfloat16
except ImportError:  # it comes with TensorFlow: a client without either has no such numbers
    bfloat16 = None


@dataclass(frozen=True)
class _Kind:
    """One DataType: its number in `types.proto`, NumPy's type, the typed field of its values."""

    number: int
    dtype: np.dtype[Any]
    field: str
    stored: np.dtype[Any]
    """What the field's elements are in memory: the bits of a half, the parts of a complex."""


def _kind(number: int, dtype: Any, field: str, stored: str | None = None) -> _Kind:
    return _Kind(number, np.dtype(dtype), field, np.dtype(stored or dtype))


_STRING = _kind(7, "object", "string_val")
_KINDS = (
    _kind(1, "float32", "float_val"),
    _kind(2, "float64", "double_val"),
    _kind(3, "int32", "int_val"),
    _kind(4, "uint8", "int_val"),
    _kind(5, "int16", "int_val"),
    _kind(6, "int8", "int_val"),
    _STRING,
    _kind(8, "complex64", "scomplex_val", "float32"),
    _kind(9, "int64", "int64_val"),
    _kind(10, "bool", "bool_val"),
    *([_kind(14, bfloat16, "half_val", "uint16")] if bfloat16 else []),
    _kind(17, "uint16", "int_val"),
    _kind(18, "complex128", "dcomplex_val", "float64"),
    _kind(19, "float16", "half_val", "uint16"),
    _kind(22, "uint32", "uint32_val"),
    _kind(23, "uint64", "uint64_val"),
)
_NUMBERS_OF_FIELDS: dict[str, Any] = {
    "int_val": np.int32,
    "half_val": np.int32,
    "int64_val": np.int64,
    "bool_val": np.bool_,
    "uint32_val": np.uint32,
    "uint64_val": np.uint64,
}
"""What a typed field holds; narrower types take the low bits, as in TensorFlow."""
_MOST_VARINT_BYTES = 10
# On the wire a packed field is bytes, the raw little-endian values. Copying those takes no time,
# where going over a repeated field from Python takes 0.1 µs a value, or 0.03 to read one.
_PACKED: Schema = {
    "Floats": {
        "float_val": (5, "bytes"),
        "double_val": (6, "bytes"),
        "scomplex_val": (9, "bytes"),
        "dcomplex_val": (12, "bytes"),
    }
}
_Floats: Any = declare("linnaeus.tensors", _PACKED)["Floats"]
"""A TensorProto's fields of floating-point numbers."""

_NAMES = {"float32": "float", "float64": "double", "float16": "half", "object": "string"}
_BY_NUMBER = {kind.number: kind for kind in _KINDS}
_BY_DTYPE = {kind.dtype: kind for kind in _KINDS}


def dtype_of(number: int) -> np.dtype[Any]:
    """NumPy's type for a DataType's number; `ValueError` for one that has none."""
    return _kind_of_number(number).dtype


def name_of(number: int) -> str:
    """TensorFlow's name for a DataType, as refusals have it."""
    kind = _BY_NUMBER.get(number)
    return name_of_dtype(kind.dtype) if kind else f"DataType {number}"


def name_of_dtype(dtype: np.dtype[Any]) -> str:
    """TensorFlow's name for NumPy's type."""
    return _NAMES.get(dtype.name, dtype.name)


def fill_content(tensor: Any, array: NDArray[Any]) -> None:
    """Write an array into an empty TensorProto as a request does: raw bytes where it has any."""
    array = _with_bytes(array)
    kind = _describe(tensor, array)
    if kind is _STRING:
        tensor.string_val.extend(array.ravel().tolist())
    else:
        tensor.tensor_content = array.tobytes()


def fill_values(tensor: Any, array: NDArray[Any]) -> None:
    """Write an array into an empty TensorProto as TensorFlow Serving answers: typed fields."""
    array = _with_bytes(array)
    kind = _describe(tensor, array)
    values = np.ascontiguousarray(array).reshape(-1).view(kind.stored)
    if kind.stored.kind == "f":
        floats = _Floats(**{kind.field: values.tobytes()})
        tensor.MergeFromString(floats.SerializeToString())
    else:
        getattr(tensor, kind.field).extend(values.tolist())


def to_array(tensor: Any) -> NDArray[Any]:
    """Read a TensorProto, from `tensor_content` or else the typed field; may be read-only.

    As in TensorFlow, a typed field that is too short repeats its last value (an empty one means
    zeros), and one that is too long is cut.

    Raises:
        ValueError: an unknown type, an unknown shape, or content of the wrong length.
    """
    kind = _kind_of_number(tensor.dtype)
    shape = _shape(tensor.tensor_shape)
    count = math.prod(shape)
    if kind is _STRING:
        return _strings(tensor, count).reshape(shape)
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, kind.dtype).reshape(shape)
    return _fitted(_typed_values(tensor, kind), count, kind.dtype.type(0)).reshape(shape)


def _with_bytes(array: NDArray[Any]) -> NDArray[Any]:
    """Text as the bytes of its UTF-8, which TensorFlow takes it for."""
    if array.dtype.kind not in "OUS":
        return array
    texts = array.ravel().tolist()
    values = [text.encode() if isinstance(text, str) else text for text in texts]
    return _object_array(values).reshape(array.shape)


def _describe(tensor: Any, array: NDArray[Any]) -> _Kind:
    kind = _BY_DTYPE.get(array.dtype)
    if kind is None:
        raise ValueError(f"no tensor type for NumPy's {array.dtype}")
    tensor.dtype = kind.number
    # Touched even for a scalar: TensorFlow takes an absent shape and an empty one alike.
    tensor.tensor_shape.SetInParent()
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    return kind


def _kind_of_number(number: int) -> _Kind:
    kind = _BY_NUMBER.get(number)
    if kind is None:
        raise ValueError(f"tensors of DataType {number} are not supported")
    return kind


def _shape(shape: Any) -> tuple[int, ...]:
    sizes = tuple(dim.size for dim in shape.dim)
    if shape.unknown_rank or any(size < 0 for size in sizes):
        raise ValueError("a tensor of unknown shape has no values")
    return sizes


def _typed_values(tensor: Any, kind: _Kind) -> NDArray[Any]:
    if kind.stored.kind == "f":
        floats = _Floats.FromString(tensor.SerializeToString())
        return np.frombuffer(getattr(floats, kind.field), kind.stored).view(kind.dtype)
    field = getattr(tensor, kind.field)
    values = np.fromiter(field, _NUMBERS_OF_FIELDS[kind.field], len(field))
    return values.astype(kind.stored, copy=False).view(kind.dtype)


def _fitted(values: NDArray[Any], count: int, zero: Any) -> NDArray[Any]:
    if len(values) >= count:
        return values[:count]
    missing = np.full(count - len(values), values[-1] if len(values) else zero, values.dtype)
    return np.concatenate([values, missing])


def _strings(tensor: Any, count: int) -> NDArray[Any]:
    values: Iterable[bytes] = (
        _content_strings(tensor.tensor_content, count)
        if tensor.tensor_content
        else tensor.string_val
    )
    return _fitted(_object_array(list(values)), count, b"")


def _object_array(values: list[bytes]) -> NDArray[Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _content_strings(content: bytes, count: int) -> list[bytes]:
    """Strings in `tensor_content`: all lengths as varints, then all bytes."""
    lengths, position = [], 0
    for _ in range(count):
        length, position = _read_varint(content, position)
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise ValueError("string content of the wrong length")
    ends = np.cumsum([position, *lengths]).tolist()
    return [content[start:end] for start, end in pairwise(ends)]


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[position : position + _MOST_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, position + shift + 1
    raise ValueError("string content ends within a length")
