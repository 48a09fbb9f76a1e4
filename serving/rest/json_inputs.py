"""JSON values to arrays, as TensorFlow Serving's REST interface reads them.

Follows `util/json_tensor.cc`. Whole columns are checked and converted at once; only where a value
does not pass it is looked for, to refuse it in TensorFlow Serving's words.
"""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from serving.rest.json_elements import array_of, is_object
from serving.rest.json_walk import check_value, first_misfit, refuse_row
from serving.status import invalid_argument

Types = Mapping[str, int]
"""Input alias -> DataType."""


def columns_of_instances(instances: list[Any], types: Types) -> dict[str, NDArray[Any]]:
    """The row form, a list of values or of `{alias: value}`, as alias -> array of all rows.

    Values are the first input's: a list of base64 may stand for one of several inputs.

    Raises:
        StatusError: INVALID_ARGUMENT, rows differ in shape, lack an input or are of another type.
    """
    first = instances[0]
    if not isinstance(first, dict) and len(types) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    arrays = _rows(instances, types)
    if arrays is not None:
        return arrays
    item = first_misfit(instances, lambda rows: _rows([first, *rows], types) is not None)
    raise refuse_row(instances, item, types)


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
    array = array_of(value, dtype)
    if array is None:
        check_value(value, dtype)
        raise invalid_argument("JSON value is of no tensor")
    return array


def _rows(instances: list[Any], types: Types) -> dict[str, NDArray[Any]] | None:
    """All rows at once; None if one of them does not fit, or not the first one's shape."""
    names = set(types)
    if not is_object(instances[0]):
        columns = {next(iter(types)): instances}
    elif all(type(row) is dict and row.keys() == names for row in instances):
        columns = {name: [row[name] for row in instances] for name in types}
    else:
        return None
    arrays = {}
    for name, column in columns.items():
        array = array_of(column, types[name])
        if array is None:
            return None
        arrays[name] = array
    return arrays
