"""JSON objects to tf.Examples, for classify and regress.

Follows `util/json_tensor.cc`: texts and base64 are bytes, numbers with a point are floats, whole
numbers and truth values are int64. The messages are declared here, since TensorFlow's stubs import
TensorFlow, and a process that reads documents has no other use for it.
"""

from collections.abc import Callable
from typing import Any

from serving.grpc_status import invalid_argument
from serving.protocol.messages import Schema, declare
from serving.rest.documents import type_text, wrong_value
from serving.rest.json_elements import from_base64, is_base64, text_bytes

_EXAMPLES = "examples"
_CONTEXT = "context"
_LISTS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}

# Field numbers of `apis/input.proto` and of TensorFlow's `core/example/*.proto`.
_SCHEMA: Schema = {
    "BytesList": {"value": (1, "repeated bytes")},
    "FloatList": {"value": (1, "repeated float")},
    "Int64List": {"value": (1, "repeated int64")},
    "Feature": {
        "bytes_list": (1, "choice BytesList"),
        "float_list": (2, "choice FloatList"),
        "int64_list": (3, "choice Int64List"),
    },
    "Features": {"feature": (1, "map Feature")},
    "Example": {"features": (1, "Features")},
    "ExampleList": {"examples": (1, "repeated Example")},
    "ExampleListWithContext": {"examples": (1, "repeated Example"), "context": (2, "Example")},
    "Input": {
        "example_list": (1, "choice ExampleList"),
        "example_list_with_context": (2, "choice ExampleListWithContext"),
    },
}
_CONVERSIONS: dict[type, Callable[[Any], Any]] = {str: text_bytes, dict: from_base64, bool: int}
_MESSAGES = declare("linnaeus.examples", _SCHEMA)


def input_bytes(document: dict[str, Any]) -> bytes:
    """The examples of a document, and its context if it has one, as a serialised Input.

    Raises:
        StatusError: INVALID_ARGUMENT, there are none, or one of them cannot be an Example.
    """
    written = _MESSAGES["Input"]()
    listed = written.example_list
    if _CONTEXT in document:
        listed = written.example_list_with_context
        _fill(listed.context, document[_CONTEXT])
    examples = document.get(_EXAMPLES)
    if _EXAMPLES not in document:
        raise wrong_value(
            document, f"When method is classify, key '{_EXAMPLES}' is expected and was not found"
        )
    if not isinstance(examples, list):
        raise wrong_value(document, f"Expecting '{_EXAMPLES}' value to be an list/array")
    if not examples:
        raise wrong_value(document, f"'{_EXAMPLES}' value is an empty array")
    for value in examples:
        _fill(listed.examples.add(), value)
    data: bytes = written.SerializeToString()
    return data


def _fill(example: Any, value: Any) -> None:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_text(value)}")
    # Named even if there are no features: an Example without any is empty.
    for name, content in value.items():
        feature = example.features.feature[text_bytes(name).decode(errors="replace")]
        for element in content if isinstance(content, list) else [content]:
            _add(feature, name, element)


def _add(feature: Any, name: str, value: Any) -> None:
    if value is None or isinstance(value, list) or (isinstance(value, dict) != is_base64(value)):
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: {type_text(value)}"
        )
    kind = _kind(value)
    held = feature.WhichOneof("choice")
    if held not in {None, kind}:
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {_LISTS[held]}"
        )
    if kind == "int64_list" and value >= 2**63:
        raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    getattr(feature, kind).value.append(_CONVERSIONS.get(type(value), type(value))(value))


def _kind(value: Any) -> str:
    if isinstance(value, str | dict):
        return "bytes_list"
    return "float_list" if isinstance(value, float) else "int64_list"
