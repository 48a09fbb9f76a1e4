"""A model server's answers, as what the model said of each row."""

from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

from linnaeus.errors import ServingError
from linnaeus.records import PREDICTION_OUTPUTS, Prediction
from serving.protocol import tensors


def read_outputs(outputs: Any, names: Sequence[str], count: int) -> dict[str, NDArray[Any]]:
    """Outputs of an answer, by name, with a row for each of the `count` that were sent.

    Raises:
        ServingError: one is not there, cannot be read, or has another number of rows.
    """
    if missing := [name for name in names if name not in outputs]:
        raise ServingError(f"an answer came back without {missing[0]}; serve another model")
    try:
        columns = {name: tensors.to_array(outputs[name]) for name in names}
    except ValueError as error:
        raise ServingError(
            f"an answer cannot be read ({error}); let TensorFlow Serving answer"
        ) from error
    rows = {name: len(column) if column.ndim else 0 for name, column in columns.items()}
    if short := [name for name in names if rows[name] != count]:
        raise ServingError(
            f"{count} rows were sent, and {rows[short[0]]} came back as {short[0]}; "
            "serve another model"
        )
    return columns


def read_predictions(outputs: Any, names: Sequence[str], count: int) -> list[Prediction]:
    """What a model said of `count` rows: its outputs `names`, from `prediction_outputs`.

    Raises:
        ServingError: as `read_outputs`.
    """
    columns: dict[str, list[Any]] = {
        name: column.tolist() for name, column in read_outputs(outputs, names, count).items()
    }
    columns["labels"] = columns.get("labels") or _only_labels(columns)
    return [
        Prediction(
            label.decode(), confidence, _decoded(filter(None, labels)), _decoded(top_labels), scores
        )
        for label, confidence, top_labels, scores, labels in zip(
            *(columns[name] for name in (*PREDICTION_OUTPUTS, "labels")), strict=True
        )
    ]


def _only_labels(columns: dict[str, list[Any]]) -> list[list[bytes]]:
    """Each row's label alone; none where the model is not sure enough of its best."""
    return [
        [label] if label == best[0] else []
        for label, best in zip(columns["label"], columns["top_labels"], strict=True)
    ]


def _decoded(names: Iterable[bytes]) -> list[str]:
    return [name.decode() for name in names]
