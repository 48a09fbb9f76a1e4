"""A model server's answers, as what the model said of each row, if they make sense."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ServingError
from linnaeus.records import PREDICTION_OUTPUTS, UNKNOWN, Prediction
from serving.protocol import tensors

_ONE_A_ROW, _NUMBERS = {"label", "confidence"}, {"confidence", "embedding", "scores", "top_scores"}
_UNSURE = UNKNOWN.encode()
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
    arrays = read_outputs(outputs, names, count)
    if wrong := next((what for what, right in _checks(arrays, least) if not np.all(right)), None):
        raise ServingError(f"an answer makes no sense: {wrong}; serve the model as it was exported")
    columns: dict[str, list[Any]] = {name: column.tolist() for name, column in arrays.items()}
    only = [
        [label] if label == best[0] else []  # where the model is sure enough of its best
        for label, best in zip(columns["label"], columns["top_labels"], strict=True)
    ]
    columns.setdefault("labels", only)
    return [
        Prediction(
            label.decode(), confidence, _decoded(filter(None, labels)), _decoded(top_labels), scores
        )
        for label, confidence, top_labels, scores, labels in zip(
            *(columns[name] for name in (*PREDICTION_OUTPUTS, "labels")), strict=True
        )
    ]


def _checks(
    columns: Mapping[str, NDArray[Any]], least: Mapping[bytes, float] | None
) -> Iterator[tuple[str, Any]]:
    """What would be wrong, and for which rows it is right; each may rely on those before it."""
    label, confidence, top, scores = (columns[name] for name in PREDICTION_OUTPUTS)
    texts = {text for name in columns.keys() - _NUMBERS for text in columns[name].ravel().tolist()}
    yield "a label is not UTF-8", all(one == one.decode(errors="ignore").encode() for one in texts)
    yield "a label is none of the model's", not least or texts - {b"", _UNSURE} <= least.keys()
    best = min(TOP_K, len(least)) if least else top.shape[1]
    yield f"top_labels and top_scores are not {best}", top.shape == scores.shape == (len(top), best)
    numbers = np.concatenate([scores, confidence[:, np.newaxis]], axis=1)
    yield "a score is no number from 0 to 1", (numbers >= 0) & (numbers <= MOST)
    yield "top_scores are not best first", scores[:, 1:] <= scores[:, :-1]
    named = np.where(label == _UNSURE, top[:, 0], label)
    yield "label is not the first of top_labels", "labels" in columns or named == top[:, 0]
    alike = confidence[:, np.newaxis] == scores
    yield "confidence is not the score of label", alike | (top != named[:, np.newaxis])
    several = columns.get("labels", np.where(label == _UNSURE, b"", label)[:, np.newaxis])
    first = np.where(several[:, 0] == b"", _UNSURE, several[:, 0])
    yield "label is not the first of labels", label == first
    if least:
        bounds = np.array([[least[one] for one in row] for row in top.tolist()], np.float32)
        applies = scores >= bounds
        applies[:, 1:] &= "labels" in columns
        yield "labels are not those of the scores", _has(several, top) == applies


def _has(rows: NDArray[Any], values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values [N, K] are among those of their row [N, M]."""
    has: NDArray[np.bool_] = (rows[:, np.newaxis, :] == values[:, :, np.newaxis]).any(axis=2)
    return has


def _decoded(names: Iterable[bytes]) -> list[str]:
    return [name.decode() for name in names]
