"""Elements of JSON arrays, checked and converted all at once.

Follows `util/json_tensor.cc` on which JSON value fits which DataType.
"""

import base64
import binascii
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2

from serving.rest.documents import value_text
from serving.status import StatusError, invalid_argument

_B64 = "b64"

_INT32 = range(-(2**31), 2**31)
_INTEGERS = {
    # TensorFlow Serving lets all types of 32 bits or less take an int32, and cuts its bits.
    types_pb2.DT_INT32: ("int32", _INT32),
    types_pb2.DT_INT16: ("int16", _INT32),
    types_pb2.DT_INT8: ("int8", _INT32),
    types_pb2.DT_UINT8: ("uint8", _INT32),
    types_pb2.DT_INT64: ("int64", range(-(2**63), 2**63)),
    types_pb2.DT_UINT32: ("uint32", range(2**32)),
    types_pb2.DT_UINT64: ("uint64", range(2**64)),
}
_FLOATS = {types_pb2.DT_FLOAT: "float32", types_pb2.DT_DOUBLE: "float64"}
_INTEGER_LIMITS = {types_pb2.DT_FLOAT: 2**24 - 1, types_pb2.DT_DOUBLE: 2**53 - 1}
_JSON_INTEGERS = range(-(2**63), 2**64)
"""Whole numbers beyond these are floating-point numbers to RapidJSON."""

FLOATS = frozenset(_FLOATS)
READABLE = frozenset({*_FLOATS, *_INTEGERS, types_pb2.DT_BOOL, types_pb2.DT_STRING})
"""The DataTypes that JSON has values of."""


def flat_array(leaves: list[Any], dtype: int) -> NDArray[Any] | None:
    """JSON values as a flat array of a DataType; None if one of them does not fit."""
    kinds = set(map(type, leaves))
    if dtype in _FLOATS:
        return _floats(leaves, kinds, dtype)
    if dtype in _INTEGERS and kinds <= {int}:
        name, allowed = _INTEGERS[dtype]
        if not leaves or (min(leaves) in allowed and max(leaves) in allowed):
            return np.array(leaves, _wide(dtype)).astype(name)
    if dtype == types_pb2.DT_BOOL and kinds <= {bool}:
        return np.array(leaves, bool)
    if dtype == types_pb2.DT_STRING and kinds <= {str, dict}:
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


def loses_precision(value: Any, dtype: int) -> bool:
    """Whether a float type cannot hold a JSON number, or cannot be trusted with an integer."""
    if isinstance(value, int) and value in _JSON_INTEGERS:
        return abs(value) > _INTEGER_LIMITS[dtype]
    return math.isfinite(value) and abs(value) > float(np.finfo(_FLOATS[dtype]).max)


def lossy(value: Any, target: str) -> StatusError:
    """The refusal of a number that a float type cannot hold."""
    return invalid_argument(
        f"Cannot convert JSON value: {value_text(value)} to {target} without loss of precision."
    )


def _wide(dtype: int) -> str:
    return "uint64" if dtype == types_pb2.DT_UINT64 else "int64"


def _floats(leaves: list[Any], kinds: set[type], dtype: int) -> NDArray[Any] | None:
    if not kinds <= {int, float}:
        return None
    try:
        values = np.array(leaves, np.float64)
    except OverflowError:
        return None
    # Integers are held to a tighter limit than floats: look at the large ones.
    large = np.flatnonzero(np.abs(values) > _INTEGER_LIMITS[dtype])
    if any(loses_precision(leaves[index], dtype) for index in large.tolist()):
        return None
    return values.astype(_FLOATS[dtype])


def _strings(leaves: list[Any]) -> NDArray[Any] | None:
    if not all(type(leaf) is str or is_base64(leaf) for leaf in leaves):
        return None
    array = np.empty(len(leaves), object)
    try:
        array[:] = [leaf.encode() if type(leaf) is str else from_base64(leaf) for leaf in leaves]
    except StatusError:
        return None
    return array
