"""What a model says of a row is what its labels' least scores make of the scores."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus.errors import ServingError
from linnaeus.records import prediction_outputs
from linnaeus.training.evaluation.decisions import DecisionRule
from serving.client.answers import read_predictions
from tests.serving.client.stand_in import as_answer

LABELS = ("cat", "dog", "ox")
BOUNDS = (0.2, 0.5, 0.8)


def least_scores(task: str) -> dict[bytes, float]:
    bounds = BOUNDS if task == "multi" else (0.5,) * 3
    return {label.encode(): bound for label, bound in zip(LABELS, bounds, strict=True)}


def decided(task: str, scores: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of a model, by the plain rule."""
    thresholds = (
        dict(zip(LABELS, BOUNDS, strict=True)) if task == "multi" else {"abstain_below": 0.5}
    )
    said = DecisionRule(LABELS, task, thresholds).decide(scores)
    most = max(1, *(len(labels) for labels in said.labels))
    outputs: dict[str, Any] = {
        "label": np.array([one.encode() for one in said.label], object),
        "confidence": said.confidence.astype(np.float32),
        "top_labels": np.array([[n.encode() for n in row] for row in said.top_labels], object),
        "top_scores": said.top_scores.astype(np.float32),
    }
    if task == "multi":
        padded = [[n.encode() for n in row] + [b""] * (most - len(row)) for row in said.labels]
        outputs["labels"] = np.array(padded, object)
    return outputs


def read(task: str, outputs: dict[str, np.ndarray]) -> list[Any]:
    count, answer = len(outputs["label"]), as_answer(outputs)
    return read_predictions(answer.outputs, prediction_outputs(task), count, least_scores(task))


rows = st.lists(
    st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.8, 1.0]), min_size=3, max_size=3),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("task", ["single", "multi"])
@given(rows=rows)
def test_what_the_rule_says_is_believed(task: str, rows: list[list[float]]):
    outputs = decided(task, np.array(rows, np.float32))
    said = read(task, outputs)
    assert [one.label.encode() for one in said] == outputs["label"].tolist()


@given(rows=rows, place=st.integers(0, 3))
def test_unsure_where_the_model_is_sure_is_no_sense_and_so_is_the_opposite(
    rows: list[list[float]], place: int
):
    outputs = decided("single", np.array(rows, np.float32))
    place %= len(rows)
    best = outputs["top_labels"][place, 0]
    label = outputs["label"].copy()
    label[place] = best if label[place] == b"unknown" else b"unknown"
    with pytest.raises(ServingError, match="not those of the scores"):
        read("single", {**outputs, "label": label})


@given(rows=rows, place=st.integers(0, 3))
def test_a_label_more_or_less_than_apply_is_no_sense(rows: list[list[float]], place: int):
    outputs = decided("multi", np.array(rows, np.float32))
    place %= len(rows)
    labels, label = outputs["labels"].copy(), outputs["label"].copy()
    if labels[place, 0] == b"":
        label[place] = labels[place, 0] = outputs["top_labels"][place, 0]
        outputs["confidence"][place] = outputs["top_scores"][place, 0]
    else:
        labels[place], label[place] = b"", b"unknown"
        outputs["confidence"][place] = outputs["top_scores"][place, 0]
    with pytest.raises(ServingError, match="not those of the scores"):
        read("multi", {**outputs, "labels": labels, "label": label})


def test_another_label_than_the_first_that_applies_is_no_sense():
    outputs = decided("multi", np.array([[0.9, 0.8, 0.9]], np.float32))
    outputs["label"][0] = outputs["labels"][0, 1]
    with pytest.raises(ServingError, match="label is not the first of labels"):
        read("multi", outputs)


def test_a_label_may_be_called_unknown():
    outputs = {
        "label": np.array([b"unknown", b"cat"], object),
        "confidence": np.array([0.7, 0.6], np.float32),
        "top_labels": np.array([[b"unknown", b"cat"], [b"cat", b"unknown"]], object),
        "top_scores": np.array([[0.7, 0.3], [0.6, 0.4]], np.float32),
    }
    least = {b"cat": 0.0, b"unknown": 0.0}
    said = read_predictions(as_answer(outputs).outputs, prediction_outputs("single"), 2, least)
    assert [one.labels for one in said] == [["unknown"], ["cat"]]
