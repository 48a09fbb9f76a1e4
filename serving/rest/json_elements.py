"""Elements of JSON arrays, checked and converted all at once.

Follows `util/json_tensor.cc` on which JSON value fits which DataType.
"""

import base64
import binascii
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.grpc_status import StatusError, invalid_argument
from serving.protocol.tensors import dtype_of, name_of

_B64 = "b64"
_MOST_DIMENSIONS = 64
"""NumPy's; TensorFlow has 254."""

_INT32 = range(-(2**31), 2**31)
_INTEGERS = {
    # TensorFlow Serving lets all types of 32 bits or less take an int32, and cuts its bits.
    "int32": _INT32,
    "int16": _INT32,
    "int8": _INT32,
    "uint8": _INT32,
    "int64": range(-(2**63), 2**63),
    "uint32": range(2**32),
    "uint64": range(2**64),
}
FLOATS = frozenset({"float", "double"})
READABLE = frozenset({*FLOATS, *_INTEGERS, "bool", "string"})
"""The names of the DataTypes that JSON has values of."""


def array_of(value: Any, dtype: int) -> NDArray[Any] | None:
    """Nested lists or a scalar as an array of a DataType; None if something does not fit.

    Raises:
        StatusError: INVALID_ARGUMENT, it is nested more deeply than any array.
    """
    leaves: list[Any] = [value]
    shape: tuple[int, ...] = ()
    while leaves and isinstance(leaves[0], list):
        sizes = set(map(len, leaves)) if set(map(type, leaves)) == {list} else set()
        if len(sizes) != 1:
            return None
        shape = (*shape, *sizes)
        if len(shape) > _MOST_DIMENSIONS:
            raise invalid_argument(f"tensor parsing error: above {_MOST_DIMENSIONS} dimensions")
        leaves = list(chain.from_iterable(leaves))
    flat = flat_array(leaves, dtype)
    return None if flat is None else flat.reshape(shape)


def flat_array(leaves: list[Any], dtype: int) -> NDArray[Any] | None:
    """JSON values as a flat array of a DataType; None if one of them does not fit."""
    name, kinds = name_of(dtype), set(map(type, leaves))
    if not leaves:
        return np.empty(0, dtype_of(dtype))
    if name in FLOATS and kinds <= {int, float}:
        return _floats(leaves, dtype)
    if name in _INTEGERS and kinds == {int}:
        allowed = _INTEGERS[name]
        if min(leaves) in allowed and max(leaves) in allowed:
            return np.array(leaves, "uint64" if name == "uint64" else "int64").astype(name)
    if name == "bool" and kinds == {bool}:
        return np.array(leaves, bool)
    if name == "string" and kinds <= {str, dict}:
        return _strings(leaves)
    return None


def is_object(value: Any) -> bool:
    """Whether a JSON value has members; `{"b64": "..."}` is bytes."""
    return isinstance(value, dict) and not is_base64(value)


def is_base64(value: Any) -> bool:
    """Whether a JSON value is bytes."""
    return isinstance(value, dict) and list(value) == [_B64] and isinstance(value[_B64], str)


def from_base64(value: dict[str, str]) -> bytes:
    """The bytes of `{"b64": "..."}`; spaces and missing padding are forgiven.

    Raises:
        StatusError: INVALID_ARGUMENT, they are not written in base64.
    """
    text = "".join(value[_B64].split())
    if "=" not in text:
        text += "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def text_bytes(text: str) -> bytes:
    """A JSON text as it came: what was no UTF-8 too."""
    return text.encode(errors="surrogateescape")


def _floats(leaves: list[Any], dtype: int) -> NDArray[Any] | None:
    try:
        values = np.array(leaves, np.float64)
    except OverflowError:
        return None
    with np.errstate(over="ignore"):
        return values.astype(dtype_of(dtype))


def _strings(leaves: list[Any]) -> NDArray[Any] | None:
    if not all(type(leaf) is str or is_base64(leaf) for leaf in leaves):
        return None
    array = np.empty(len(leaves), object)
    try:
        array[:] = [text_bytes(leaf) if type(leaf) is str else from_base64(leaf) for leaf in leaves]
    except StatusError:
        return None
    return array
