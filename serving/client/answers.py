"""A model server's answers, as what the model said of each row, if they make sense."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count as count_from
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ServingError
from linnaeus.records import PREDICTION_OUTPUTS, UNKNOWN, Prediction
from serving.protocol import tensors

_ONE_A_ROW, _NUMBERS = {"label", "confidence"}, {"confidence", "embedding", "scores", "top_scores"}
_NONE, _UNSURE = range(2)
_FIRST = {b"": _NONE, UNKNOWN.encode(): _UNSURE}
TOP_K = 5
"""Labels that a model names with their scores, if it has so many."""
MOST = 1.001
"""Of a score, with what float32 rounds."""


def read_outputs(outputs: Any, names: Sequence[str], count: int) -> dict[str, NDArray[Any]]:
    """Outputs of an answer, by name, with a row for each of the `count` that were sent.

    Raises:
        ServingError: one is not there, cannot be read, or has another form or number of rows.
    """
    if missing := [name for name in names if name not in outputs]:
        raise ServingError(f"an answer came back without {missing[0]}; serve another model")
    try:
        columns = {name: _read(name, outputs[name]) for name in names}
    except ValueError as error:
        raise ServingError(
            f"an answer cannot be read ({error}); let TensorFlow Serving answer"
        ) from error
    if short := [name for name in names if len(columns[name]) != count]:
        raise ServingError(
            f"{count} rows were sent, and {len(columns[short[0]])} came back as {short[0]}; "
            "serve another model"
        )
    return columns


def _read(name: str, tensor: Any) -> NDArray[Any]:
    if prod(dim.size for dim in tensor.tensor_shape.dim) > tensor.ByteSize():
        raise ValueError(f"{name} has fewer values than its shape says")
    column = tensors.to_array(tensor)
    dtype, axes = "float32" if name in _NUMBERS else "object", 1 if name in _ONE_A_ROW else 2
    if column.dtype != dtype or column.ndim != axes or not column.size:
        raise ValueError(
            f"{name} is {column.dtype} {list(column.shape)}, not {dtype} of {axes} axes"
        )
    return column


def read_predictions(
    outputs: Any, names: Sequence[str], count: int, least: Mapping[bytes, float] | None = None
) -> list[Prediction]:
    """What a model said of `count` rows: its outputs `names`, from `prediction_outputs`.

    Args:
        outputs: of the answer.
        names: of the outputs that are read.
        count: of the rows that were sent.
        least: the model's labels, and the score from which on each applies; None: not known.

    Raises:
        ServingError: as `read_outputs`, or no model with those labels says so.
    """
    columns, texts = _coded(read_outputs(outputs, names, count))
    checks = _checks(columns, texts, least)
    if wrong := next((what for what, right in checks if not np.all(right)), None):
        raise ServingError(f"an answer makes no sense: {wrong}; serve the model as it was exported")
    words = np.array([text.decode() for text in texts], object)
    columns["labels"] = _several(columns)
    said = [
        (columns[name] if name in _NUMBERS else words[columns[name]]).tolist()
        for name in (*PREDICTION_OUTPUTS, "labels")
    ]
    return [
        Prediction(label, confidence, list(filter(None, labels)), top_labels, scores)
        for label, confidence, top_labels, scores, labels in zip(*said, strict=True)
    ]


def _coded(arrays: dict[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], list[bytes]]:
    """An answer with a number for each text, which is its place in the list of them."""
    places = defaultdict(count_from(len(_FIRST)).__next__, _FIRST)
    coded = {
        name: np.array(list(map(places.__getitem__, texts.ravel().tolist()))).reshape(texts.shape)
        for name, texts in arrays.items()
        if name not in _NUMBERS
    }
    return arrays | coded, list(places)


def _several(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """All labels of a row [N, M]: the one, where the model is sure enough of its best."""
    label, best = columns["label"][:, np.newaxis], columns["top_labels"][:, :1]
    return columns.get("labels", np.where(label == best, label, _NONE))


def _checks(
    columns: Mapping[str, NDArray[Any]], texts: list[bytes], least: Mapping[bytes, float] | None
) -> Iterator[tuple[str, Any]]:
    """What would be wrong, and for which rows it is right; each may rely on those before it."""
    label, confidence, top, scores = (columns[name] for name in PREDICTION_OUTPUTS)
    yield "a label is not UTF-8", all(one == one.decode(errors="ignore").encode() for one in texts)
    bounds = np.array([(least or {}).get(one, np.nan) for one in texts], np.float32)
    asked = np.concatenate([bounds[len(_FIRST) :], bounds[top].ravel()])
    yield "a label is none of the model's", not least or ~np.isnan(asked)
    best = min(TOP_K, len(least)) if least else top.shape[1]
    yield f"top_labels and top_scores are not {best}", top.shape == scores.shape == (len(top), best)
    numbers = np.concatenate([scores, confidence[:, np.newaxis]], axis=1)
    yield "a score is no number from 0 to 1", (numbers >= 0) & (numbers <= MOST)
    yield "top_scores are not best first", scores[:, 1:] <= scores[:, :-1]
    named = np.where(label == _UNSURE, top[:, 0], label)
    yield "label is not the first of top_labels", "labels" in columns or named == top[:, 0]
    alike = confidence[:, np.newaxis] == scores
    yield "confidence is not the score of label", alike | (top != named[:, np.newaxis])
    several = _several(columns)
    first = np.where(several[:, 0] == _NONE, _UNSURE, several[:, 0])
    yield "label is not the first of labels", label == first
    if least:
        applies = scores >= bounds[top]
        applies[:, 1:] &= "labels" in columns
        has = (several[:, np.newaxis, :] == top[:, :, np.newaxis]).any(axis=2)
        yield "labels are not those of the scores", has == applies
