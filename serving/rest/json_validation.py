"""Looks for the first JSON value that does not fit, and says why.

Follows `util/json_tensor.cc`. Runs of values are tried together and halved, so that a refusal
costs about twice what the conversion of good values does, however many there are.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc

from serving.grpc_status import StatusError, invalid_argument
from serving.protocol.tensors import name_of
from serving.rest.documents import type_text, value_text, wrong_value
from serving.rest.json_elements import (
    FLOATS,
    READABLE,
    array_of,
    flat_array,
    from_base64,
    is_base64,
    is_object,
)


def first_misfit(items: list[Any], fits: Callable[[list[Any]], bool]) -> int:
    """Where the first item is that `fits` refuses, told of runs of items; the last if none is."""
    low, high = 0, len(items)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(items[low:middle]):
            low = middle
        else:
            high = middle
    return low


def refuse_row(instances: list[Any], item: int, types: Mapping[str, int]) -> StatusError:
    """The refusal of a row of the row form; `types` are DataTypes by alias."""
    first, instance = instances[0], instances[item]
    if is_object(first):
        return _refused_object(first, item, instance, types)
    if is_object(instance):
        return invalid_argument(f"Expecting value/list but got object at item {item} of input list")
    try:
        _check_row(first, instance, next(iter(types.values())))
    except StatusError as error:
        return _refused(item, "", error)
    return invalid_argument(f"Failed to process element: {item} of 'instances' list.")


def _refused_object(first: Any, item: int, instance: Any, types: Mapping[str, int]) -> StatusError:
    if not is_object(instance):
        return invalid_argument(f"Expecting object but got list at item {item} of input list")
    for name, value in instance.items():
        try:
            if name not in types:
                raise invalid_argument(f"JSON object: does not have named input: {name}")
            _check_row(first[name], value, types[name])
        except StatusError as error:
            return _refused(item, f" key: {name}", error)
    return invalid_argument(
        f"Failed to process element: {item} of 'instances' list. JSON object:"
        f" {value_text(instance)} keys must be equal to: {','.join(sorted(types))}"
    )


def _refused(item: int, key: str, error: StatusError) -> StatusError:
    return invalid_argument(
        f"Failed to process element: {item}{key} of 'instances' list."
        f" Error: {error.code.name}: {error.text}"
    )


def _check_row(first: Any, value: Any, dtype: int) -> None:
    check_value(value, dtype)
    wanted, shape = tuple(_first_sizes(first)), tuple(_first_sizes(value))
    if math.prod(shape) != math.prod(wanted):
        raise invalid_argument(
            f"Expecting tensor size: {math.prod(wanted)} but got: {math.prod(shape)}"
        )
    if shape != wanted:
        raise invalid_argument(
            f"Expecting shape {_shape_text(wanted)} but got: {_shape_text(shape)}"
        )


def _shape_text(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def check_value(value: Any, dtype: int) -> None:
    """Check one value, nested lists or a scalar, against a DataType.

    Raises:
        StatusError: INVALID_ARGUMENT, it is ragged or of another type; UNIMPLEMENTED, JSON has
            no values of that type.
    """
    _check(value, tuple(_first_sizes(value)), 0, dtype)


def _first_sizes(value: Any) -> Iterator[int]:
    while isinstance(value, list):
        yield len(value)
        value = value[0] if value else None


def _check(value: Any, shape: tuple[int, ...], level: int, dtype: int) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {value_text(value)} found at incorrect level: {level + 1} in the"
                f" JSON DOM. Expected at level: {len(shape)}"
            )
        _check_leaf(value, dtype)
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

    def fits(items: list[Any]) -> bool:
        array = array_of(items, dtype)
        return array is not None and array.shape == (len(items), *shape[level + 1 :])

    if value:
        _check(value[first_misfit(value, fits)], shape, level + 1, dtype)


def _check_leaf(value: Any, dtype: int) -> None:
    name = name_of(dtype)
    if isinstance(value, dict):
        _check_object(value, name)
    elif name not in READABLE:
        raise StatusError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"Conversion of JSON Value: {value_text(value)} to type: {name}",
        )
    elif flat_array([value], dtype) is None:
        if name in FLOATS and type(value) is int:
            raise invalid_argument("JSON Parse error: Number too big to be stored in double.")
        raise _wrong_type(value, name)


def _check_object(value: dict[str, Any], name: str) -> None:
    if name != "string":
        raise _wrong_type(value, name)
    if not is_base64(value):
        raise wrong_value(value, "not formatted correctly for base64 data")
    from_base64(value)


def _wrong_type(value: Any, expected: str) -> StatusError:
    return wrong_value(value, f"Type: {type_text(value)} is not of expected type: {expected}")
