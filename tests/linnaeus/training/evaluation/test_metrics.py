import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.errors import ConfigurationError, GateFailed
from linnaeus.training.evaluation.decisions import DecisionRule, scores_of
from linnaeus.training.evaluation.metrics import (
    Evaluation,
    binary_log_loss,
    evaluate_scores,
    log_loss,
    require_accuracy,
    unrepresented,
    wilson_interval,
)

Scored = tuple[np.ndarray, np.ndarray]
LABELS = ("äpfel", "b/c", "d e")
RULE = DecisionRule(LABELS)


@st.composite
def scored(draw: st.DrawFn) -> Scored:
    images = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.dirichlet(np.ones(3), images), rng.integers(0, 3, images)


@st.composite
def several(draw: st.DrawFn) -> Scored:
    """Scores of each label, some of them equal, and 1 where a label is true."""
    images = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.integers(1, 10, (images, 3)) / 10
    return scores, (rng.random((images, 3)) < draw(st.sampled_from([0.1, 0.5]))).astype(np.uint8)


@settings(deadline=None, max_examples=50)
@given(scored())
def test_metrics_equal_scikit_learns(case: Scored) -> None:
    from sklearn import metrics

    scores, truth = case
    predicted = scores.argmax(axis=1)
    found = evaluate_scores(scores, truth, RULE)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, predicted, labels=[0, 1, 2], zero_division=0
    )
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert [c.precision for c in found.classes] == pytest.approx(list(precision))
    assert [c.recall for c in found.classes] == pytest.approx(list(recall))
    assert [c.f1 for c in found.classes] == pytest.approx(list(f1))
    assert [c.support for c in found.classes] == list(support)
    confusion = metrics.confusion_matrix(truth, predicted, labels=[0, 1, 2])
    assert np.array_equal(found.confusion, confusion)
    expected = metrics.log_loss(truth, scores, labels=[0, 1, 2])
    assert found.log_loss == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(scored())
def test_averages_are_over_the_classes_that_are_there(case: Scored) -> None:
    from sklearn import metrics

    scores, truth = case
    expected = metrics.precision_recall_fscore_support(
        truth, scores.argmax(axis=1), labels=np.unique(truth), average="macro", zero_division=0
    )
    macro = evaluate_scores(scores, truth, RULE).macro
    assert (macro.precision, macro.recall, macro.f1) == pytest.approx(expected[:3])


@settings(deadline=None, max_examples=50)
@given(several())
def test_metrics_of_several_labels_equal_scikit_learns(case: Scored) -> None:
    from sklearn import metrics

    scores, truth = case
    thresholds = dict(zip(LABELS, (0.3, 0.5, 0.75), strict=True))
    rule = DecisionRule(LABELS, "multi", thresholds)
    predicted = scores.astype(np.float32) >= np.array([0.3, 0.5, 0.75], np.float32)
    found = evaluate_scores(scores, truth, rule)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, predicted, average=None, zero_division=0
    )
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert [c.precision for c in found.classes] == pytest.approx(list(precision))
    assert [c.recall for c in found.classes] == pytest.approx(list(recall))
    assert [c.f1 for c in found.classes] == pytest.approx(list(f1))
    assert [c.support for c in found.classes] == list(support)
    assert [c.threshold for c in found.classes] == pytest.approx([0.3, 0.5, 0.75])
    assert np.array_equal(found.confusion, metrics.multilabel_confusion_matrix(truth, predicted))
    micro = metrics.precision_recall_fscore_support(
        truth, predicted, average="micro", zero_division=0
    )
    assert found.micro is not None
    assert (found.micro.precision, found.micro.recall, found.micro.f1) == pytest.approx(micro[:3])
    losses = [metrics.log_loss(t, s, labels=[0, 1]) for t, s in zip(truth.T, scores.T, strict=True)]
    assert found.log_loss == pytest.approx(np.mean(losses))
    with warnings.catch_warnings(action="ignore"):  # of labels that no image has
        ranking = [
            metrics.average_precision_score(t, s) for t, s in zip(truth.T, scores.T, strict=True)
        ]
    assert [c.average_precision for c in found.classes] == pytest.approx(ranking)


def test_logits_are_scored_by_softmax_or_each_on_its_own() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    truth = np.arange(20) % 3
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = evaluate_scores(scores_of(logits, "single"), truth, RULE)
    assert found.log_loss == pytest.approx(evaluate_scores(softmax, truth, RULE).log_loss, rel=1e-5)
    several = np.eye(3)[truth]
    rule = DecisionRule(LABELS, "multi")
    found = evaluate_scores(scores_of(logits, "multi"), several, rule)
    sigmoid = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert found.log_loss == pytest.approx(binary_log_loss(sigmoid, several))


def test_what_is_said_when_unsure_is_judged_apart() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    rule = DecisionRule(("a", "b"), thresholds={"abstain_below": 0.6, "target_precision": 0.7})
    found = evaluate_scores(scores, np.array([0, 0, 0, 0]), rule)
    assert found.accuracy == 0.5
    assert found.to_dict()["abstention"] == {
        "threshold": 0.6,
        "unknown": 1,
        "coverage": 0.75,
        "precision": pytest.approx(2 / 3),
    }


def test_a_model_that_says_nothing_is_right_in_nothing() -> None:
    rule = DecisionRule(("a", "b"), thresholds={"abstain_below": 1.0})
    abstention = evaluate_scores(np.array([[0.9, 0.1]]), np.array([0]), rule).abstention
    assert abstention is not None
    assert (abstention.coverage, abstention.precision, abstention.unknown) == (0, 0, 1)


def test_log_loss_weighs_images() -> None:
    log_scores = np.log([[0.9, 0.1], [0.2, 0.8]])
    weighted = log_loss(log_scores, np.array([0, 0]), np.array([3.0, 1.0]))
    assert weighted == pytest.approx(-(3 * np.log(0.9) + np.log(0.2)) / 4)
    scores, truth = np.array([[0.9, 0.2], [0.6, 0.1]]), np.array([[1, 0], [0, 0]])
    weighted = binary_log_loss(scores, truth, np.array([3.0, 1.0]))
    assert weighted == pytest.approx(-(3 * np.log(0.9 * 0.8) + np.log(0.4 * 0.9)) / 8)


def test_a_sure_and_right_model_has_a_log_loss_of_zero_without_a_sign() -> None:
    assert str(log_loss(np.array([[0.0, -np.inf]]), np.array([0]))) == "0.0"


def test_an_impossible_truth_costs_much_but_not_infinitely() -> None:
    assert 700 < log_loss(np.array([[0.0, -np.inf]]), np.array([1])) < 800
    for dtype, most in ((np.float32, 16), (np.float64, 37)):
        loss = binary_log_loss(np.array([[1.0, 0.0]], dtype), np.array([[0, 1]]))
        assert most - 1.5 < loss < most


def test_wilson_interval_of_81_in_263() -> None:
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(20, 20)[1] == 1.0


def test_the_dictionary_names_classes_by_label_and_leaves_out_what_does_not_apply() -> None:
    found = evaluate_scores(np.eye(3) * 0.8 + 0.1, np.arange(3), RULE).to_dict()
    assert list(found["classes"]) == list(LABELS)
    assert found["accuracy_interval"][0] < found["accuracy"] == 1.0
    assert found["top_k"] == {"k": 3, "accuracy": 1.0}
    assert "threshold" not in found["classes"]["d e"]
    assert not {"micro", "abstention"} & set(found)
    assert json.loads(json.dumps(found)) == found
    rule = DecisionRule(LABELS, "multi")
    found = evaluate_scores(np.eye(3) * 0.8 + 0.1, np.eye(3), rule).to_dict()
    assert found["confusion"] == [[[2, 0], [0, 1]]] * 3
    assert found["classes"]["d e"]["threshold"] == 0.5
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("task", ["single", "multi"])
def test_a_class_that_no_image_has_is_named_and_harms_no_other_measure(task: str) -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    truth = np.array([0, 1]) if task == "single" else np.eye(3)[:2]
    with np.errstate(all="raise"):
        found = evaluate_scores(scores, truth, DecisionRule(LABELS, task))
    assert unrepresented(found) == ["d e"]
    assert (found.accuracy, found.macro.f1, found.classes[2].recall) == (1, 1, 0)


def test_no_images_cannot_be_evaluated() -> None:
    with pytest.raises(ConfigurationError, match="no image"):
        evaluate_scores(np.empty((0, 3)), np.empty(0, np.int64), RULE)


def right_in(hits: int, images: int) -> Evaluation:
    scores = np.tile([0.9, 0.1], (images, 1))
    return evaluate_scores(
        scores, (np.arange(images) >= hits).astype(int), DecisionRule(("a", "b"))
    )


@pytest.mark.parametrize(
    ("hits", "images", "said"),
    [
        (842, 1000, "test accuracy 0.842 is 0.058 below the 0.9 asked for (N=1000)"),
        (8996, 10000, "test accuracy 0.8996 is 0.0004 below the 0.9 asked for (N=10000)"),
        (0, 3, "test accuracy 0.000 is 0.900 below the 0.9 asked for (N=3)"),
    ],
)
def test_the_gate_says_by_how_much_it_is_missed(hits: int, images: int, said: str) -> None:
    with pytest.raises(GateFailed) as caught:
        require_accuracy(right_in(hits, images), 0.9)
    assert str(caught.value) == f"{said}; nothing was published"


def test_the_gate_opens_at_exactly_what_was_asked_for() -> None:
    require_accuracy(right_in(9, 10), 0.9)
    require_accuracy(right_in(0, 10), 0.0)


def test_a_gate_on_an_empty_test_set_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no image is in the test split.*testing-perc"):
        require_accuracy(None, 0.9)


def test_scores_of_logits_too_large_for_exp_are_finite() -> None:
    logits = np.array([[1000.0, 0.0], [-1000.0, 1000.0]])
    assert np.array_equal(scores_of(logits), [[1, 0], [0, 1]])
    assert np.allclose(scores_of(logits, "multi"), [[1, 0.5], [0, 1]])
