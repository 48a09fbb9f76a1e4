"""What a body asks of a model: its document, read into the arrays or Examples of a call.

Needs no TensorFlow, so that a process of its own can read large bodies. Follows
`util/json_tensor.cc`. Whole columns are checked and converted at once; only where a value does not
pass it is looked for, to refuse it in TensorFlow Serving's words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from linnaeus.signatures import SERVING_DEFAULT
from serving.grpc_status import invalid_argument
from serving.rest import json_examples
from serving.rest.documents import parse_document, wrong_value
from serving.rest.json_elements import array_of, is_object, text_bytes
from serving.rest.json_validation import check_value, first_misfit, refuse_row

Types = Mapping[str, int]
"""Input alias -> DataType."""
Signatures = Mapping[str, Types]
"""Signature -> its inputs' types."""
EXAMPLES = "examples"
Expected = Signatures | str | None
"""What a body is to hold besides its signature's name: arrays for one of these, or Examples."""

_DOUBLE = 2
_INSTANCES = "instances"
_INPUTS = "inputs"
_SIGNATURE_NAME = "signature_name"


@dataclass(frozen=True)
class Reading:
    """What a body says: arrays by input alias, as rows or not, or a serialised Input."""

    signature_name: str
    row_form: bool = False
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    input: bytes = b""


def read(body: bytes, expected: Expected) -> Reading:
    """Read a body in this thread.

    Raises:
        StatusError: it is no document of a call.
        RecursionError: it is nested more deeply than this thread can follow.
    """
    signatures = expected if isinstance(expected, Mapping) else {}
    exact = any(_DOUBLE in types.values() for types in signatures.values())
    document = parse_document(body, exact)
    name = _signature_name(document)
    if expected is None:
        return Reading(name)
    if isinstance(expected, str):
        return Reading(name, input=json_examples.input_bytes(document))
    types = _types(expected, name)
    row_form = _is_row_form(document)
    return Reading(name, row_form, _columns(document, row_form, types))


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get(_SIGNATURE_NAME, "")
    if not isinstance(name, str):
        raise wrong_value(
            document, f"not formatted correctly. '{_SIGNATURE_NAME}' key must be a string value."
        )
    return text_bytes(name).decode(errors="replace")


def _types(signatures: Signatures, told: str) -> Types:
    name = told or SERVING_DEFAULT
    if name not in signatures:
        raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
    if not signatures[name]:
        raise invalid_argument(f"Failed to get input map for signature: {told or 'DEFAULT'}")
    return signatures[name]


def _is_row_form(document: dict[str, Any]) -> bool:
    if _INSTANCES not in document and _INPUTS not in document:
        raise invalid_argument(f"Missing '{_INPUTS}' or '{_INSTANCES}' key")
    if _INSTANCES in document and _INPUTS in document:
        raise wrong_value(
            document,
            f"Not formatted correctly expecting only one of '{_INPUTS}' or '{_INSTANCES}' keys"
            " to exist ",
        )
    return _INSTANCES in document


def _columns(document: dict[str, Any], row_form: bool, types: Types) -> Any:
    if not row_form:
        return columns_of_inputs(document[_INPUTS], types)
    instances = document[_INSTANCES]
    if not isinstance(instances, list):
        raise wrong_value(document, f"Expecting '{_INSTANCES}' to be an list/array")
    if not instances:
        raise wrong_value(document, f"No values in '{_INSTANCES}' array")
    return columns_of_instances(instances, types)


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
