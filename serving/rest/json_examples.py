"""JSON objects to tf.Examples, for classify and regress.

Follows `util/json_tensor.cc`: texts and base64 are bytes, numbers with a point are floats, whole
numbers and truth values are int64.
"""

from typing import Any

from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2

from serving.rest.documents import type_text, wrong_value
from serving.rest.json_elements import from_base64, is_base64, loses_precision, lossy
from serving.status import invalid_argument

_EXAMPLES = "examples"
_CONTEXT = "context"
_LISTS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def fill_input(request_input: Any, document: dict[str, Any]) -> None:
    """Write the examples of a document, and its context if it has one, into an Input.

    Raises:
        StatusError: INVALID_ARGUMENT, there are none, or one of them cannot be an Example.
    """
    listed = request_input.example_list
    if _CONTEXT in document:
        listed = request_input.example_list_with_context
        listed.context.CopyFrom(_example(document[_CONTEXT]))
    examples = document.get(_EXAMPLES)
    if _EXAMPLES not in document:
        raise wrong_value(
            document, f"When method is classify, key '{_EXAMPLES}' is expected and was not found"
        )
    if not isinstance(examples, list):
        raise wrong_value(document, f"Expecting '{_EXAMPLES}' value to be an list/array")
    if not examples:
        raise wrong_value(document, f"'{_EXAMPLES}' value is an empty array")
    listed.examples.extend(map(_example, examples))


def _example(value: Any) -> example_pb2.Example:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_text(value)}")
    example = example_pb2.Example()
    # Named even if there are no features: an Example without any is empty.
    for name, content in value.items():
        feature = example.features.feature[name]
        for element in content if isinstance(content, list) else [content]:
            _add(feature, name, element)
    return example


def _add(feature: Any, name: str, value: Any) -> None:
    if (
        value is None
        or isinstance(value, list)
        or (isinstance(value, dict) and not is_base64(value))
    ):
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: {type_text(value)}"
        )
    kind = _kind(value)
    held = feature.WhichOneof("kind")
    if held not in {None, kind}:
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {_LISTS[held]}"
        )
    getattr(feature, kind).value.append(_element(name, value))


def _kind(value: Any) -> str:
    if isinstance(value, str | dict):
        return "bytes_list"
    # RapidJSON takes a whole number beyond 64 bits for a floating-point one.
    is_float = isinstance(value, float) or not -(2**63) <= value < 2**64
    return "float_list" if is_float else "int64_list"


def _element(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return from_base64(value)
    if _kind(value) == "int64_list":
        if value >= 2**63:
            raise invalid_argument(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return int(value)
    return _float(value)


def _float(value: Any) -> float:
    try:
        number = float(value)
    except OverflowError as error:
        raise invalid_argument(
            "JSON Parse error: Number too big to be stored in double."
        ) from error
    if loses_precision(number, types_pb2.DT_FLOAT):
        raise lossy(number, "float")
    return number
