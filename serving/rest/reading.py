"""What a body asks of a model: its document, read into the arrays or Examples of a call.

Needs no TensorFlow, so that a process of its own can read large bodies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from serving.rest import json_examples, json_inputs
from serving.rest.documents import parse_document, wrong_value
from serving.rest.json_elements import text_bytes
from serving.status import invalid_argument

Signatures = Mapping[str, json_inputs.Types]
"""Signature -> its inputs' types."""
EXAMPLES = "examples"
Expected = Signatures | str | None
"""What a body is to hold besides its signature's name: arrays for one of these, or Examples."""

_DOUBLE = 2
_DEFAULT_SIGNATURE = "serving_default"
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


def _types(signatures: Signatures, told: str) -> json_inputs.Types:
    name = told or _DEFAULT_SIGNATURE
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


def _columns(document: dict[str, Any], row_form: bool, types: json_inputs.Types) -> Any:
    if not row_form:
        return json_inputs.columns_of_inputs(document[_INPUTS], types)
    instances = document[_INSTANCES]
    if not isinstance(instances, list):
        raise wrong_value(document, f"Expecting '{_INSTANCES}' to be an list/array")
    if not instances:
        raise wrong_value(document, f"No values in '{_INSTANCES}' array")
    return json_inputs.columns_of_instances(instances, types)
