"""JSON values to arrays, as TensorFlow Serving's REST interface reads them.

Follows `util/json_tensor.cc`. Whole columns are checked and converted at once; only a value that
does not pass is walked element by element, to refuse it in TensorFlow Serving's words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from numpy.typing import NDArray

from serving.rest.json_elements import flat_array, is_object
from serving.rest.json_walk import walk, walk_instances
from serving.status import invalid_argument

Types = Mapping[str, int]
"""Input alias -> DataType."""


def columns_of_instances(instances: list[Any], types: Types) -> dict[str, NDArray[Any]]:
    """The row form, a list of values or of `{alias: value}`, as alias -> array of all rows.

    Values are the first input's: a list of base64 may stand for one of several inputs.

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
            return walk_instances(instances, types)
        arrays[name] = array
    return arrays or walk_instances(instances, types)


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
    return walk(value, dtype).array() if array is None else array


def _columns(instances: list[Any], types: Types) -> dict[str, list[Any]]:
    """The rows as columns; none if they must be walked."""
    if not is_object(instances[0]):
        return {next(iter(types)): instances}
    names = set(types)
    if not all(type(row) is dict and row.keys() == names for row in instances):
        return {}
    return {name: [row[name] for row in instances] for name in types}


def _array(value: Any, dtype: int) -> NDArray[Any] | None:
    """The whole value at once; None if it must be walked."""
    flat = _flattened(value)
    leaves = None if flat is None else flat_array(flat.leaves, dtype)
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
