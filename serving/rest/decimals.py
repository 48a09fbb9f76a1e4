"""Floating-point numbers in the digits that TensorFlow Serving's REST interface writes.

Six digits where they mean the same number, else nine for a float32 and seventeen for a float64,
and a `.0` after whole numbers, as `WriteDecimal` of `util/json_tensor.cc` does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHORT = "%.6g"
_LONG = {np.dtype(np.float32): "%.9g", np.dtype(np.float64): "%.17g"}
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def decimal_text(value: float) -> str:
    """One float64 in JSON."""
    return decimal_texts(np.array([value]))[0]


def decimal_texts(array: NDArray[Any]) -> list[str]:
    """The elements of a float32 or float64 array in JSON, in C order.

    All elements are formatted by one call, which takes half the time of one call each.
    """
    values = array.ravel()
    texts = _formatted(_SHORT, values)
    with np.errstate(over="ignore"):
        again = np.array(texts, np.float64).astype(values.dtype)
    inexact = np.flatnonzero((again != values) & np.isfinite(values))
    for index, text in zip(
        inexact.tolist(), _formatted(_LONG[values.dtype], values[inexact]), strict=True
    ):
        texts[index] = text
    return [text if "." in text or "e" in text else _whole(text) for text in texts]


def _formatted(form: str, values: NDArray[Any]) -> list[str]:
    return (f"{form} " * len(values) % tuple(values.tolist())).split()


def _whole(text: str) -> str:
    return _NOT_FINITE.get(text) or f"{text}.0"
