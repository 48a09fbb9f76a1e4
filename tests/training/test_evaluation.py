import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from training.evaluation import evaluate_scores, log_loss, wilson_interval

Scored = tuple[np.ndarray, np.ndarray]
LABELS = ("äpfel", "b/c", "d e")


@st.composite
def scored(draw: st.DrawFn) -> Scored:
    images = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probabilities = rng.dirichlet(np.ones(3), images)
    return np.log(probabilities), rng.integers(0, 3, images)


@given(scored())
def test_metrics_equal_scikit_learns(case: Scored) -> None:
    log_scores, truth = case
    predicted = log_scores.argmax(axis=1)
    found = evaluate_scores(log_scores, truth, LABELS)
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
    expected = metrics.log_loss(truth, np.exp(log_scores), labels=[0, 1, 2])
    assert found.log_loss == pytest.approx(expected)


def test_log_loss_weighs_images() -> None:
    log_scores = np.log([[0.9, 0.1], [0.2, 0.8]])
    weighted = log_loss(log_scores, np.array([0, 0]), np.array([3.0, 1.0]))
    assert weighted == pytest.approx(-(3 * np.log(0.9) + np.log(0.2)) / 4)


def test_a_sure_and_right_model_has_a_log_loss_of_zero_without_a_sign() -> None:
    assert str(log_loss(np.array([[0.0, -np.inf]]), np.array([0]))) == "0.0"


def test_an_impossible_truth_costs_much_but_not_infinitely() -> None:
    assert 700 < log_loss(np.array([[0.0, -np.inf]]), np.array([1])) < 800


def test_wilson_interval_of_81_in_263() -> None:
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(20, 20)[1] == 1.0


def test_the_dictionary_names_classes_by_label() -> None:
    found = evaluate_scores(np.log(np.eye(3) * 0.8 + 0.1), np.arange(3), LABELS).to_dict()
    assert list(found["classes"]) == list(LABELS)
    assert found["accuracy_interval"][0] < found["accuracy"] == 1.0
