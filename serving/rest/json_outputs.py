"""Answers as JSON text, in the very form that TensorFlow Serving's REST interface prints.

Follows `util/json_tensor.cc` and RapidJSON's PrettyWriter: rows on one line, columns on many.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.grpc_status import invalid_argument
from serving.protocol.tensors import name_of_dtype

_SHORT = "%.6g"
_LONG = {np.dtype(np.float32): "%.9g", np.dtype(np.float64): "%.17g"}
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_INDENT = "    "
_BYTES_SUFFIX = "_bytes"
_INTEGERS = frozenset(map(np.dtype, ("i1", "i2", "i4", "i8", "u1", "u4", "u8")))


def rows_document(outputs: Mapping[str, NDArray[Any]]) -> str:
    """The row form of an answer: values, or objects if there are several outputs.

    Raises:
        StatusError: INVALID_ARGUMENT, outputs are no rows, of unequal count, or of a type that
            JSON has not.
    """
    _check_outputs(outputs)
    count = _row_count(outputs)
    if len(outputs) == 1:
        [(name, array)] = outputs.items()
        rows = _items(name, array, _Line(level=2))
        return _one_line_list("predictions", rows)
    line = _Line(level=3)
    columns = {name: _items(name, array, line) for name, array in outputs.items()}
    lines = [
        _object({name: column[row] for name, column in columns.items()}, 2) for row in range(count)
    ]
    return _object({"predictions": _Lines(level=1).enclose(lines, 0)}, 0)


def columns_document(outputs: Mapping[str, NDArray[Any]]) -> str:
    """The column form of an answer: one value, or an object if there are several outputs.

    Raises:
        StatusError: INVALID_ARGUMENT, an output is of a type that JSON has not.
    """
    _check_outputs(outputs)
    if len(outputs) == 1:
        [(name, array)] = outputs.items()
        return _object({"outputs": _value(name, array, _Lines(level=1))}, 0)
    values = {name: _value(name, array, _Lines(level=2)) for name, array in outputs.items()}
    return _object({"outputs": _object(values, 1)}, 0)


def classifications_document(result: Any) -> str:
    """A ClassificationResult: a list of `[label, score]` an Example.

    Raises:
        StatusError: INVALID_ARGUMENT, it is empty.
    """
    if not result.classifications:
        raise invalid_argument("Cannot convert empty ClassificationResults to JSON")
    return _one_line_list("results", [_classes(each.classes) for each in result.classifications])


def regressions_document(result: Any) -> str:
    """A RegressionResult: a value an Example.

    Raises:
        StatusError: INVALID_ARGUMENT, it is empty.
    """
    if not result.regressions:
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    values = np.array([each.value for each in result.regressions], np.float32)
    return _object({"results": f"[{', '.join(decimal_texts(values))}]"}, 0)


def _classes(classes: Any) -> str:
    scores = decimal_texts(np.array([each.score for each in classes], np.float32))
    pairs = zip(classes, scores, strict=True)
    return f"[{', '.join(f'[{_text(each.label)}, {score}]' for each, score in pairs)}]"


@dataclass(frozen=True)
class _Line:
    """Lists on one line, in a list or object that is `level` levels deep."""

    level: int

    def enclose(self, items: list[str], depth: int) -> str:
        return f"[{', '.join(items)}]"


@dataclass(frozen=True)
class _Lines:
    """Lists with one element a line, at a place that is `level` levels deep."""

    level: int

    def enclose(self, items: list[str], depth: int) -> str:
        if not items:
            return "[]"
        outside = "\n" + _INDENT * (self.level + depth)
        return f"[{outside}{_INDENT}{f',{outside}{_INDENT}'.join(items)}{outside}]"


_Layout = _Line | _Lines


def _one_line_list(name: str, items: list[str]) -> str:
    # The closing bracket stands on a line of its own unless the list is empty.
    closing = f"\n{_INDENT}]" if items else "]"
    return _object({name: f"[{', '.join(items)}{closing}"}, 0)


def _object(members: Mapping[str, str], level: int) -> str:
    outside = "\n" + _INDENT * level
    lines = f",{outside}{_INDENT}".join(f"{_text(key)}: {text}" for key, text in members.items())
    return f"{{{outside}{_INDENT}{lines}{outside}}}"


def _value(name: str, array: NDArray[Any], layout: _Layout) -> str:
    return _nested(_leaves(name, array, layout.level + array.ndim), array.shape, layout, 0)[0]


def _items(name: str, array: NDArray[Any], layout: _Layout) -> list[str]:
    """The text of each row."""
    return _nested(_leaves(name, array, layout.level + array.ndim - 1), array.shape, layout, 1)


def _nested(texts: list[str], shape: tuple[int, ...], layout: _Layout, outermost: int) -> list[str]:
    """Join leaves into lists, innermost axis first, down to axis `outermost`."""
    for axis in range(len(shape) - 1, outermost - 1, -1):
        size, count = shape[axis], int(np.prod(shape[:axis]))
        groups = (texts[row * size : (row + 1) * size] for row in range(count))
        texts = [layout.enclose(group, axis - outermost) for group in groups]
    return texts


def _leaves(name: str, array: NDArray[Any], level: int) -> list[str]:
    if not array.size:
        return []
    if array.dtype == np.float16:
        return decimal_texts(array.astype(np.float32))
    if array.dtype in {np.dtype(np.float32), np.dtype(np.float64)}:
        return decimal_texts(array)
    if array.dtype in _INTEGERS:
        # One call for all: a call each takes thrice the time.
        return str(array.ravel().tolist())[1:-1].split(", ")
    if array.dtype == np.bool_:
        return ["true" if value else "false" for value in array.ravel().tolist()]
    if name.endswith(_BYTES_SUFFIX):
        return [_base64_text(value, level) for value in array.ravel()]
    return [_text(value.decode(errors="replace")) for value in array.ravel()]


def _base64_text(value: bytes, level: int) -> str:
    return _object({"b64": f'"{base64.b64encode(value).decode()}"'}, level)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _check_outputs(outputs: Mapping[str, NDArray[Any]]) -> None:
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    for array in outputs.values():
        is_written = array.dtype.kind in "fbO" or array.dtype in _INTEGERS
        if array.size and not is_written:
            name = name_of_dtype(array.dtype)
            raise invalid_argument(f"Failed to write JSON value for tensor type: {name}")


def _row_count(outputs: Mapping[str, NDArray[Any]]) -> int:
    count = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if count is not None and len(array) != count:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {count}"
            )
        count = len(array)
    return count or 0


def decimal_texts(array: NDArray[Any]) -> list[str]:
    """The elements of a float32 or float64 array in JSON, in C order, as `WriteDecimal` has them.

    Six digits where they mean the same number, else nine for a float32 and seventeen for a float64,
    and a `.0` after whole numbers.
    All elements are formatted by one call, which takes half the time of one call each.
    """
    values = array.ravel()
    if not values.size:
        return []
    line = _formatted(_SHORT, values)
    texts = line.split()
    with np.errstate(over="ignore"):
        again = np.fromstring(line, np.float64, sep=" ").astype(values.dtype)
    inexact = np.flatnonzero((again != values) & np.isfinite(values))
    digits = _formatted(_LONG[values.dtype], values[inexact]).split()
    for index, text in zip(inexact.tolist(), digits, strict=True):
        texts[index] = text
    # Only these may have neither point nor exponent.
    for index in np.flatnonzero((values == np.trunc(values)) | ~np.isfinite(values)).tolist():
        texts[index] = _whole(texts[index])
    return texts


def _formatted(form: str, values: NDArray[Any]) -> str:
    return f"{form} " * len(values) % tuple(values.tolist())


def _whole(text: str) -> str:
    if "." in text or "e" in text:
        return text
    return _NOT_FINITE.get(text) or f"{text}.0"
