import numpy as np
import pyarrow as pa
import pytest

from linnaeus.records import HELD_OUT_PREDICTIONS
from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.evaluation.decisions import DecisionRule
from linnaeus.training.evaluation.held_out_predictions import held_out_predictions, mistakes

LABELS = ("a", "b", "größe")
SLICES = {"train": slice(0, 2), "validation": slice(2, 4), "test": slice(4, 8)}


def data_of(targets: np.ndarray) -> LabelledEmbeddings:
    images = len(targets)
    return LabelledEmbeddings(
        rows=Examples(np.zeros((images, 2), np.float32), targets, np.ones(images, np.float32)),
        uris=pa.array([f"/{number}.jpg" for number in range(images)]),
        digests=pa.array([f"d{number}" for number in range(images)]),
        labels=LABELS,
        slices=SLICES,
        left_out={},
        task="multi" if targets.ndim == 2 else "single",
    )


def array(scores: list[list[float]]) -> np.ndarray:
    return np.array(scores, np.float32)


def test_every_held_out_picture_is_listed_with_what_is_said_of_it() -> None:
    data = data_of(np.array([0, 1, 2, 0, 1, 2, 0, 1]))
    validation = array([[0.1, 0.2, 0.7], [0.4, 0.35, 0.25]])
    test = array([[0.1, 0.8, 0.1]] * 4)
    rule = DecisionRule(LABELS, thresholds={"abstain_below": 0.5})
    table = held_out_predictions(data, {"validation": validation, "test": test}, rule)
    assert table.schema == HELD_OUT_PREDICTIONS
    assert table["uri"].to_pylist() == [f"/{number}.jpg" for number in range(2, 8)]
    assert table["split"].to_pylist() == ["validation"] * 2 + ["test"] * 4
    assert table["truth"].to_pylist() == [["größe"], ["a"], ["b"], ["größe"], ["a"], ["b"]]
    unsure = table.slice(1, 1).to_pylist()[0]
    assert unsure["top_scores"] == pytest.approx([0.4, 0.35, 0.25])
    del unsure["top_scores"], unsure["confidence"]
    assert unsure == {
        "uri": "/3.jpg",
        "sha256": "d3",
        "split": "validation",
        "truth": ["a"],
        "label": "unknown",
        "labels": [],
        "top_labels": ["a", "b", "größe"],
    }


def test_mistakes_are_of_the_test_alone_and_the_most_confident_comes_first() -> None:
    data = data_of(np.array([0, 1, 2, 0, 1, 2, 0, 1]))
    validation = array([[0.9, 0.05, 0.05]] * 2)
    test = array([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.35, 0.4, 0.25], [0.7, 0.2, 0.1]])
    rule = DecisionRule(LABELS, thresholds={"abstain_below": 0.5})
    found = mistakes(held_out_predictions(data, {"validation": validation, "test": test}, rule))
    assert found == [
        {"uri": "/7.jpg", "true": "b", "predicted": "a", "score": pytest.approx(0.7)},
        {"uri": "/4.jpg", "true": "b", "predicted": "a", "score": pytest.approx(0.6)},
        {"uri": "/6.jpg", "true": "a", "predicted": "b", "score": pytest.approx(0.4)},
    ]


def test_a_right_label_is_no_mistake_though_the_model_abstains() -> None:
    data = data_of(np.array([0, 1, 2, 0, 1, 1, 1, 1]))
    rule = DecisionRule(LABELS, thresholds={"abstain_below": 0.99})
    assert mistakes(held_out_predictions(data, {"test": array([[0.1, 0.8, 0.1]] * 4)}, rule)) == []


def test_of_several_labels_any_that_is_missing_or_too_many_is_a_mistake() -> None:
    targets = np.zeros((8, 3), np.uint8)
    targets[4:] = [[1, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]]
    scores = array([[0.9, 0.7, 0], [0.9, 0, 0], [0, 0, 0], [0.4, 0.3, 0.2]])
    table = held_out_predictions(data_of(targets), {"test": scores}, DecisionRule(LABELS, "multi"))
    assert table["truth"].to_pylist() == [["a", "b"], ["a", "b"], [], ["größe"]]
    assert [(one["uri"], one["true"], one["predicted"]) for one in mistakes(table, "multi")] == [
        ("/5.jpg", "a, b", "a"),
        ("/7.jpg", "größe", "unknown"),
    ]


def test_at_most_a_thousand_mistakes_are_listed() -> None:
    images = 1_200
    data = data_of(np.ones(images, np.int64))
    data = LabelledEmbeddings(**{**vars(data), "slices": {"test": slice(0, images)}})
    scores = np.tile(array([[0.8, 0.1, 0.1]]), (images, 1))
    assert (
        len(mistakes(held_out_predictions(data, {"test": scores}, DecisionRule(LABELS)))) == 1_000
    )
