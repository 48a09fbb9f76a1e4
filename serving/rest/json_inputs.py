"""JSON values to arrays, as TensorFlow Serving's REST interface reads them.

Follows `util/json_tensor.cc`. Whole columns are checked and converted at once; only a value that
does not pass is walked element by element, to refuse it in TensorFlow Serving's words.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2

from serving.rest.documents import type_text, value_text, wrong_value
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

Types = Mapping[str, int]
"""Input alias -> DataType."""


def columns_of_instances(instances: list[Any], types: Types) -> dict[str, NDArray[Any]]:
    """The row form, a list of values or of `{alias: value}`, as alias -> array of all rows.

    Raises:
        StatusError: INVALID_ARGUMENT, rows differ in shape, lack an input or are of another type.
    """
    if not isinstance(instances[0], dict) and len(types) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    arrays = {}
    for name, column in _columns(instances, types).items():
        array = _array(column, types[name])
        if array is None:
            return _walked_instances(instances, types)
        arrays[name] = array
    return arrays or _walked_instances(instances, types)


def columns_of_inputs(inputs: Any, types: Types) -> dict[str, NDArray[Any]]:
    """The column form, `{alias: value}` or one value, as alias -> array.

    Raises:
        StatusError: INVALID_ARGUMENT, an input is missing, ragged or of another type.
    """
    if is_object(inputs):
        arrays = {}
        for name, dtype in types.items():
            if name not in inputs:
                raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
            arrays[name] = to_array(inputs[name], dtype)
        return arrays
    if len(types) > 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple "
            "input tensors required as per tensorinfo_map"
        )
    return {name: to_array(inputs, dtype) for name, dtype in types.items()}


def to_array(value: Any, dtype: int) -> NDArray[Any]:
    """One JSON value, nested lists or a scalar, as an array of a DataType.

    Raises:
        StatusError: INVALID_ARGUMENT, it is ragged or of another type; UNIMPLEMENTED, JSON has
            no values of that type.
    """
    array = _array(value, dtype)
    return _walked(value, dtype).array() if array is None else array


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
    return bool(np.isfinite(value)) and abs(value) > float(np.finfo(_FLOATS[dtype]).max)


def lossy(value: Any, target: str) -> StatusError:
    """The refusal of a number that a float type cannot hold."""
    return invalid_argument(
        f"Cannot convert JSON value: {value_text(value)} to {target} without loss of precision."
    )


def _columns(instances: list[Any], types: Types) -> dict[str, list[Any]]:
    """The rows as columns; none if they must be walked."""
    if not is_object(instances[0]):
        return dict.fromkeys(types, instances)
    names = set(types)
    if not all(type(row) is dict and row.keys() == names for row in instances):
        return {}
    return {name: [row[name] for row in instances] for name in types}


def _array(value: Any, dtype: int) -> NDArray[Any] | None:
    """The whole value at once; None if it must be walked."""
    flat = _flattened(value)
    leaves = None if flat is None else _converted(flat.leaves, dtype)
    return None if flat is None or leaves is None else leaves.reshape(flat.shape)


@dataclass(frozen=True)
class _Flat:
    shape: tuple[int, ...]
    leaves: list[Any]


def _flattened(value: Any) -> _Flat | None:
    """Nested lists as their shape and elements, in C order; None if they are ragged."""
    leaves: list[Any] = [value]
    shape: tuple[int, ...] = ()
    while leaves and isinstance(leaves[0], list):
        sizes = set(map(len, leaves)) if set(map(type, leaves)) == {list} else set()
        if len(sizes) != 1:
            return None
        shape = (*shape, *sizes)
        leaves = list(chain.from_iterable(leaves))
    return _Flat(shape, leaves)


def _converted(leaves: list[Any], dtype: int) -> NDArray[Any] | None:
    """Elements as a flat array; None if one of them does not fit."""
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


@dataclass(frozen=True)
class _Walked:
    """A value that was looked at element by element and found to be sound."""

    shape: tuple[int, ...]
    leaves: list[Any]
    dtype: int

    def array(self) -> NDArray[Any]:
        leaves = _converted(self.leaves, self.dtype)
        if leaves is None:
            raise invalid_argument("JSON Parse error: Number too big to be stored in double.")
        return leaves.reshape(self.shape)


def _walked(value: Any, dtype: int) -> _Walked:
    shape = tuple(_first_sizes(value))
    return _Walked(shape, list(_checked_leaves(value, shape, 0, dtype)), dtype)


def _first_sizes(value: Any) -> Iterator[int]:
    while isinstance(value, list):
        yield len(value)
        value = value[0] if value else None


def _checked_leaves(value: Any, shape: tuple[int, ...], level: int, dtype: int) -> Iterator[Any]:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {value_text(value)} found at incorrect level: {level + 1} in the"
                f" JSON DOM. Expected at level: {len(shape)}"
            )
        _check_leaf(value, dtype)
        yield value
        return
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level}"
            f" expected size: {shape[level]}"
        )
    for item in value:
        yield from _checked_leaves(item, shape, level + 1, dtype)


def _check_leaf(value: Any, dtype: int) -> None:
    name = types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()
    if isinstance(value, dict):
        _check_object(value, dtype, name)
    elif dtype in _FLOATS:
        _check_float(value, dtype, name)
    elif not _known(dtype):
        raise StatusError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"Conversion of JSON Value: {value_text(value)} to type: {name}",
        )
    elif _converted([value], dtype) is None:
        raise _wrong_type(value, name)


def _known(dtype: int) -> bool:
    return dtype in _INTEGERS or dtype in {types_pb2.DT_BOOL, types_pb2.DT_STRING}


def _check_object(value: dict[str, Any], dtype: int, name: str) -> None:
    if dtype != types_pb2.DT_STRING:
        raise _wrong_type(value, name)
    if not is_base64(value):
        raise wrong_value(value, "not formatted correctly for base64 data")
    from_base64(value)


def _check_float(value: Any, dtype: int, name: str) -> None:
    if type(value) not in {int, float}:
        raise _wrong_type(value, name)
    if _is_too_big(value):
        raise invalid_argument("JSON Parse error: Number too big to be stored in double.")
    if loses_precision(value, dtype):
        raise lossy(value, name)


def _is_too_big(value: Any) -> bool:
    try:
        float(value)
    except OverflowError:
        return True
    return False


def _wrong_type(value: Any, expected: str) -> StatusError:
    return wrong_value(value, f"Type: {type_text(value)} is not of expected type: {expected}")


def _walked_instances(instances: list[Any], types: Types) -> dict[str, NDArray[Any]]:
    """Row by row, as TensorFlow Serving does: the first row that does not fit is refused."""
    objects = is_object(instances[0])
    rows: dict[str, list[_Walked]] = {name: [] for name in types}
    for item, instance in enumerate(instances):
        if objects:
            _add_object(rows, types, item, instance)
        else:
            _add_value(rows, types, item, instance)
    return {name: np.stack([walked.array() for walked in column]) for name, column in rows.items()}


def _add_object(rows: dict[str, list[_Walked]], types: Types, item: int, instance: Any) -> None:
    if not is_object(instance):
        raise invalid_argument(f"Expecting object but got list at item {item} of input list")
    for name, value in instance.items():
        try:
            if name not in types:
                raise invalid_argument(f"JSON object: does not have named input: {name}")
            _add_row(rows[name], value, types[name])
        except StatusError as error:
            raise invalid_argument(
                f"Failed to process element: {item} key: {name} of 'instances' list."
                f" Error: {error.code.name}: {error.text}"
            ) from error
    if instance.keys() != set(types):
        raise invalid_argument(
            f"Failed to process element: {item} of 'instances' list. JSON object:"
            f" {value_text(instance)} keys must be equal to: {','.join(sorted(types))}"
        )


def _add_value(rows: dict[str, list[_Walked]], types: Types, item: int, instance: Any) -> None:
    if is_object(instance):
        raise invalid_argument(f"Expecting value/list but got object at item {item} of input list")
    [(name, dtype)] = types.items()
    try:
        _add_row(rows[name], instance, dtype)
    except StatusError as error:
        raise invalid_argument(
            f"Failed to process element: {item} of 'instances' list."
            f" Error: {error.code.name}: {error.text}"
        ) from error


def _add_row(rows: list[_Walked], value: Any, dtype: int) -> None:
    walked = _walked(value, dtype)
    rows.append(walked)
    first = rows[0]
    if len(walked.leaves) != len(first.leaves):
        raise invalid_argument(
            f"Expecting tensor size: {len(first.leaves)} but got: {len(walked.leaves)}"
        )
    if walked.shape != first.shape:
        raise invalid_argument(
            f"Expecting shape {_shape_text(first.shape)} but got: {_shape_text(walked.shape)}"
        )


def _shape_text(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
