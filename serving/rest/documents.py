"""JSON documents in and JSON values in refusals, in the words of TensorFlow Serving's parser.

Follows `util/json_tensor.cc` and the error texts of RapidJSON, which parses there.
"""

import json
import re
from typing import Any

from serving.rest.decimals import decimal_text
from serving.status import StatusError, invalid_argument

_INDENT = 4

# Python's reasons, by how they begin, as RapidJSON words them.
_REASONS = {
    "Expecting value": "Invalid value.",
    "Extra data": "The document root must not be followed by other values.",
    "Expecting property name": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma": "Invalid value.",
    "Expecting ':'": "Missing a colon after a name of object member.",
    "Invalid \\uXXXX": "Incorrect hex digit after \\u escape in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Unterminated string": "Missing a closing quotation mark in string.",
    "Invalid control character": "Invalid encoding in string.",
}
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_BRACKETS_AND_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def parse_document(body: bytes) -> dict[str, Any]:
    """A request's body, which must be a JSON object; NaN and Infinity are numbers.

    Raises:
        StatusError: INVALID_ARGUMENT, it is no JSON, or no object.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from error
    except json.JSONDecodeError as error:
        offset = len(error.doc[: error.pos].encode())
        raise _parse_error(_reason(error), offset) from error
    except (RecursionError, ValueError) as error:
        raise invalid_argument("JSON Parse error: too deep a document or too long a number") from (
            error
        )
    if _SURROGATE_ESCAPE.search(body):
        _check_surrogates(document)
    if not isinstance(document, dict):
        raise wrong_value(document, "Is not object")
    return document


def wrong_value(value: Any, why: str) -> StatusError:
    """A refusal of a JSON value, which it shows whole."""
    return invalid_argument(f"JSON Value: {value_text(value)} {why}")


def value_text(value: Any) -> str:
    """A JSON value as it stands in a refusal."""
    if isinstance(value, float):
        return decimal_text(value)
    return json.dumps(value, indent=_INDENT, ensure_ascii=False)


def type_text(value: Any) -> str:
    """The name of a JSON value's type in a refusal."""
    if value is None or value is True or value is False:
        return "Null" if value is None else str(value)
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def error_document(text: str) -> str:
    """The body that tells a refusal."""
    return json.dumps({"error": text}, indent=_INDENT, ensure_ascii=False)


def _check_surrogates(document: Any) -> None:
    """Refuse halves of surrogate pairs, which Python's parser lets pass."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise invalid_argument(
            "JSON Parse error: The surrogate pair in string is invalid."
        ) from error


def _parse_error(reason: str, offset: int) -> StatusError:
    return invalid_argument(f"JSON Parse error: {reason} at offset: {offset}")


def _reason(error: json.JSONDecodeError) -> str:
    if not error.doc.strip():
        return "The document is empty."
    if error.msg.startswith("Expecting ','"):
        if _innermost_bracket(error.doc[: error.pos]) == "{":
            return "Missing a comma or } after an object member."
        return "Missing a comma or ] after an array element."
    known = (text for start, text in _REASONS.items() if error.msg.startswith(start))
    return next(known, "Unspecific syntax error.")


def _innermost_bracket(text: str) -> str:
    opened: list[str] = []
    for token in _BRACKETS_AND_STRINGS.findall(text):
        if token in "[{":
            opened.append(token)
        elif token in "]}":
            opened.pop()
    return opened[-1] if opened else ""
