"""JSON values looked at one by one, to refuse the first that does not fit, and say why.

Follows `util/json_tensor.cc`; slow, and so done only for what cannot be converted at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2

from serving.rest.documents import type_text, value_text, wrong_value
from serving.rest.json_elements import (
    FLOATS,
    READABLE,
    flat_array,
    from_base64,
    is_base64,
    is_object,
    loses_precision,
    lossy,
)
from serving.status import StatusError, invalid_argument


@dataclass(frozen=True)
class Walked:
    """A value that was looked at element by element and found to be sound."""

    shape: tuple[int, ...]
    leaves: list[Any]
    dtype: int

    def array(self) -> NDArray[Any]:
        """The value as one array."""
        leaves = flat_array(self.leaves, self.dtype)
        if leaves is None:
            raise invalid_argument("JSON Parse error: Number too big to be stored in double.")
        return leaves.reshape(self.shape)


def walk_instances(instances: list[Any], types: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """The row form, row by row, as alias -> array of all rows; `types` are DataTypes by alias.

    Raises:
        StatusError: INVALID_ARGUMENT, a row does not fit.
    """
    objects = is_object(instances[0])
    rows: dict[str, list[Walked]] = {name: [] for name in types}
    for item, instance in enumerate(instances):
        if objects:
            _add_object(rows, types, item, instance)
        else:
            _add_value(rows, types, item, instance)
    filled = {name: column for name, column in rows.items() if column}
    return {name: np.stack([each.array() for each in column]) for name, column in filled.items()}


def _add_object(
    rows: dict[str, list[Walked]], types: Mapping[str, int], item: int, instance: Any
) -> None:
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


def _add_value(
    rows: dict[str, list[Walked]], types: Mapping[str, int], item: int, instance: Any
) -> None:
    if is_object(instance):
        raise invalid_argument(f"Expecting value/list but got object at item {item} of input list")
    name = next(iter(types))
    try:
        _add_row(rows[name], instance, types[name])
    except StatusError as error:
        raise invalid_argument(
            f"Failed to process element: {item} of 'instances' list."
            f" Error: {error.code.name}: {error.text}"
        ) from error


def _add_row(rows: list[Walked], value: Any, dtype: int) -> None:
    walked = walk(value, dtype)
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


def walk(value: Any, dtype: int) -> Walked:
    """Check one value, nested lists or a scalar, against a DataType.

    Raises:
        StatusError: INVALID_ARGUMENT, it is ragged or of another type; UNIMPLEMENTED, JSON has
            no values of that type.
    """
    shape = tuple(_first_sizes(value))
    return Walked(shape, list(_checked_leaves(value, shape, 0, dtype)), dtype)


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
    elif dtype in FLOATS:
        _check_float(value, dtype, name)
    elif dtype not in READABLE:
        raise StatusError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"Conversion of JSON Value: {value_text(value)} to type: {name}",
        )
    elif flat_array([value], dtype) is None:
        raise _wrong_type(value, name)


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
