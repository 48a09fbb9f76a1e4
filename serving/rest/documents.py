"""JSON documents in and JSON values in refusals, as TensorFlow Serving reads and words them.

Follows `util/json_tensor.cc`; RapidJSON, which parses there, does so here.
"""

import codecs
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from serving.grpc_status import StatusError, invalid_argument, truncated

_INDENT = "    "
_VALUE_BYTES = 256
_TEXT_BYTES = 8 * 1024
"""Of a refusal, which names what the client named; TensorFlow's reasons are shorter."""
_WHOLE_NUMBERS = range(-(2**63), 2**64)
"""Those beyond are floating-point numbers to RapidJSON."""
_PLAIN_NUMBERS = (1e-6, 1e21)
_REFUSAL = re.compile(r"Parse error at offset (\d+): (.*)", re.DOTALL)
_FOLLOWED = "The document root must not be followed by other values."
_AS_ASCII = bytes(range(128)) + b"?" * 128


def parse_document(body: bytes, exact: bool = True) -> dict[str, Any]:
    """The JSON object that a request's body begins with; what follows it counts for nothing.

    NaN and Infinity are numbers. Bytes that are no UTF-8 become surrogates, as on command lines.
    Unless they are to be exact, numbers may be a few units in a float64's last place off, as the
    stock server's are, in a third of the time.

    Raises:
        StatusError: INVALID_ARGUMENT, it is no JSON, or no object.
        RecursionError: it is nested more deeply than this thread can follow.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    document = _parsed(body.removeprefix(codecs.BOM_UTF8), exact)
    if not isinstance(document, dict):
        raise wrong_value(document, "Is not object")
    return document


def wrong_value(value: Any, why: str) -> StatusError:
    """A refusal of a JSON value, which it shows the beginning of."""
    return invalid_argument(f"JSON Value: {value_text(value)} {why}")


def value_text(value: Any) -> str:
    """A JSON value as it stands in a refusal, cut where its text passes 256 bytes."""
    parts: list[str] = []
    size = 0
    for part in _parts(value, ""):
        parts.append(part)
        size += len(part.encode(errors="replace"))
        if size >= _VALUE_BYTES:
            break
    return "".join(parts)


def type_text(value: Any) -> str:
    """The name of a JSON value's type in a refusal."""
    if value is None or value is True or value is False:
        return "Null" if value is None else str(value)
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def error_document(text: str) -> str:
    """The body that tells a refusal."""
    return json.dumps({"error": truncated(text, _TEXT_BYTES)}, indent=_INDENT, ensure_ascii=False)


def _parsed(body: bytes, exact: bool) -> Any:
    # Of the server's requirements: the module is imported on workers, which have the client's.
    import rapidjson

    mode = rapidjson.NM_NAN | (0 if exact else rapidjson.NM_NATIVE)
    try:
        return rapidjson.loads(body, number_mode=mode)
    except UnicodeDecodeError:
        return _parsed_as_bytes(body)
    except ValueError as error:
        match = _REFUSAL.fullmatch(str(error))
        offset, reason = (int(match[1]), match[2]) if match else (0, str(error))
        if reason == _FOLLOWED:
            return _parsed(body[:offset], exact)
        # Brackets stand in quotes since the version that TensorFlow Serving has.
        reason = reason.replace("'", "")
        if reason == "Invalid integer value":
            reason = "Number too big to be stored in double."
        raise invalid_argument(f"JSON Parse error: {reason} at offset: {offset}") from error


def _parsed_as_bytes(body: bytes) -> Any:
    """Text that is no UTF-8, which RapidJSON takes and Python's strings do not."""
    _parsed(body.translate(_AS_ASCII), exact=True)
    text = body.decode(errors="surrogateescape").lstrip(" \t\r\n")
    try:
        return json.JSONDecoder(parse_int=_number).raw_decode(text)[0]
    except ValueError as error:
        raise invalid_argument("JSON Parse error: Invalid encoding in string.") from error


def _number(digits: str) -> int | float:
    return value if (value := int(digits)) in _WHOLE_NUMBERS else float(digits)


def _parts(value: Any, outside: str, before: str = "") -> Iterator[str]:
    """A value's text in the pieces that RapidJSON writes: objects on lines, lists on one."""
    inside = outside + _INDENT
    if isinstance(value, dict):
        yield before + "{"
        for position, (key, item) in enumerate(value.items()):
            yield f"{',' if position else ''}\n{inside}{_scalar_text(key)}"
            yield from _parts(item, inside, ": ")
        yield f"\n{outside}}}" if value else "}"
    elif isinstance(value, list):
        yield before + "["
        for position, item in enumerate(value):
            yield from _parts(item, inside, ", " if position else "")
        yield "]"
    else:
        yield before + _scalar_text(value)


def _scalar_text(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value[:_VALUE_BYTES], ensure_ascii=False)
    if isinstance(value, float) or (isinstance(value, int) and value not in _WHOLE_NUMBERS):
        return _number_text(float(str(value)))
    return json.dumps(value)


def _number_text(value: float) -> str:
    """The digits of RapidJSON, which writes exponents from later on than Python."""
    low, high = _PLAIN_NUMBERS
    if low <= abs(value) < high:
        text = format(Decimal(repr(value)), "f")
        return text if "." in text else f"{text}.0"
    return re.sub(r"e\+?(-?)0*", r"e\1", json.dumps(value))
