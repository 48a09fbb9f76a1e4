"""JSON values to arrays and back, as TensorFlow Serving's REST interface does it.

Follows `util/json_tensor.cc`.
"""

import base64
import binascii
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.status import invalid_argument

_B64 = "b64"
_BYTES_SUFFIX = "_bytes"

# JSON's number types that each kind of NumPy type may be written as.
_ACCEPTED_KINDS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}


def rows_to_columns(instances: Any, names: list[str]) -> dict[str, Any]:
    """The row form, `[{name: value}, ...]` or `[value, ...]`, as name -> list of values."""
    if not isinstance(instances, list):
        raise invalid_argument("Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument("No values in 'instances' array")
    if any(_is_object(instance) for instance in instances):
        _check_instances(instances, names)
        return {name: [instance[name] for instance in instances] for name in names}
    if len(names) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    return {names[0]: instances}


def named_columns(inputs: Any, names: list[str]) -> dict[str, Any]:
    """The column form, `{name: value}` or one value, as name -> value."""
    if _is_object(inputs):
        for name in names:
            if name not in inputs:
                raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        return {name: inputs[name] for name in names}
    if len(names) > 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple "
            "input tensors required as per tensorinfo_map"
        )
    return {names[0]: inputs}


def to_array(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A JSON value, nested lists or one scalar, as an array of a signature's type.

    Raises:
        StatusError: INVALID_ARGUMENT, the value is ragged or of another type.
    """
    return _strings(value) if dtype.kind == "O" else _numbers(value, dtype)


def outputs_to_rows(outputs: Mapping[str, NDArray[Any]]) -> list[Any]:
    """The row form of an answer: a list of values, or of objects if there are several outputs."""
    count = _row_count(outputs)
    columns = {name: to_json(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))  # type: ignore[no-any-return]
    return [{name: column[row] for name, column in columns.items()} for row in range(count)]


def outputs_to_columns(outputs: Mapping[str, NDArray[Any]]) -> Any:
    """The column form of an answer: one value, or an object if there are several outputs."""
    columns = {name: to_json(name, array) for name, array in outputs.items()}
    return next(iter(columns.values())) if len(columns) == 1 else columns


def to_json(name: str, array: NDArray[Any]) -> Any:
    """An output as JSON; strings whose output's name ends in `_bytes` travel as base64."""
    if array.dtype.kind == "O":
        write = _base64_object if name.endswith(_BYTES_SUFFIX) else _text
        flat = np.empty(array.size, object)
        flat[:] = [write(value) for value in array.ravel()]
        return flat.reshape(array.shape).tolist()
    if array.dtype in (np.float32, np.float16):
        # The shortest digits that mean the same float32, not those of the double next to it.
        return array.astype(str).astype(np.float64).tolist()
    return array.tolist()


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == [_B64] and isinstance(value[_B64], str)


def _check_instances(instances: list[Any], names: list[str]) -> None:
    for item, instance in enumerate(instances):
        if not _is_object(instance):
            raise invalid_argument(f"Expecting object but got list at item {item} of input list")
        if set(instance) != set(names):
            raise invalid_argument(
                f"Failed to process element: {item} of 'instances' list. JSON object:"
                f" keys must be equal to: {','.join(names)}"
            )


def _numbers(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        array = np.array(value)
    except (ValueError, OverflowError) as error:
        raise invalid_argument(f"JSON Value: lists of unequal length: {error}") from error
    if array.size and array.dtype.kind not in _ACCEPTED_KINDS.get(dtype.kind, ""):
        raise invalid_argument(f"JSON Value: {_sample(value)} is not of expected type: {dtype}")
    return _without_loss(array, dtype)


def _without_loss(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
    same = np.isfinite(converted) == np.isfinite(array) if dtype.kind == "f" else converted == array
    if not np.all(same):
        raise invalid_argument(f"Cannot convert JSON values to {dtype} without loss of precision.")
    return converted


def _strings(value: Any) -> NDArray[Any]:
    shape = tuple(_shape(value))
    leaves = list(_leaves(value, len(shape)))
    if len(leaves) != math.prod(shape):
        raise invalid_argument("JSON Value: lists of unequal length")
    return np.array(leaves, object).reshape(shape)


def _shape(value: Any) -> Iterator[int]:
    while isinstance(value, list):
        yield len(value)
        value = value[0] if value else None


def _leaves(value: Any, depth: int) -> Iterator[bytes]:
    if depth == 0:
        yield _string(value)
        return
    if not isinstance(value, list):
        raise invalid_argument(f"JSON Value: {_sample(value)} found at incorrect level")
    for item in value:
        yield from _leaves(item, depth - 1)


def _string(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, dict):
        raise invalid_argument(f"JSON Value: {_sample(value)} is not of expected type: string")
    if not _is_base64(value):
        raise invalid_argument(
            f"JSON Value: {_sample(value)} not formatted correctly for base64 data"
        )
    try:
        return base64.b64decode(value[_B64], validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def _row_count(outputs: Mapping[str, NDArray[Any]]) -> int:
    counts: list[int] = []
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if counts and len(array) != counts[0]:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)}"
                f" expecting: {counts[0]}"
            )
        counts.append(len(array))
    return counts[0]


def _base64_object(value: bytes) -> dict[str, str]:
    return {_B64: base64.b64encode(value).decode()}


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _sample(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
