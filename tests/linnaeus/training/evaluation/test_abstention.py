import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.errors import ConfigurationError, GateFailed
from linnaeus.training.evaluation.abstention import (
    NEVER,
    fit_label_thresholds,
    fit_threshold,
    refuse_unknown,
)

PRECISIONS = st.sampled_from([0.0, 0.3, 0.5, 0.75, 0.9, 1.0])


@st.composite
def validated(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidences, some equal and some as close as float32 can be, whether right, weights."""
    images = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    confidences = (rng.integers(1, 11, images) / 10).astype(np.float32)
    confidences -= rng.integers(0, 2, images).astype(np.float32) * np.float32(6e-8)
    weights = rng.choice([0.0, 0.5, 1.0], images, p=[0.1, 0.3, 0.6]).astype(np.float32)
    return confidences, rng.random(images) < 0.7, weights


def precision_from(
    threshold: float, confidences: np.ndarray, right: np.ndarray, weights: np.ndarray
) -> float:
    said = confidences >= np.float32(threshold)
    total = weights[said].sum(dtype=np.float64)
    return float((weights * right)[said].sum(dtype=np.float64) / total) if total else 0.0


def f1_from(threshold: float, scores: np.ndarray, true: np.ndarray, weights: np.ndarray) -> float:
    said = scores >= np.float32(threshold)
    hits, wrong = weights[said & true].sum(), weights[said ^ true].sum()
    return float(2 * hits / (2 * hits + wrong)) if hits else 0.0


@settings(deadline=None, max_examples=50)
@given(validated(), PRECISIONS)
def test_the_threshold_is_the_lowest_that_reaches_the_precision(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], target: float
) -> None:
    confidences = case[0]
    reaching = [
        threshold
        for threshold in np.unique(confidences)
        if precision_from(threshold, *case) >= target
    ]
    if not reaching:
        with pytest.raises(GateFailed, match="precision"):
            fit_threshold(*case, target)
        return
    found = fit_threshold(*case, target)
    expected = confidences >= min(reaching)
    assert np.array_equal(confidences >= np.float32(found), expected)


def test_a_threshold_keeps_its_distance_from_the_scores_around_it() -> None:
    confidences, right = np.array([0.5, 0.7, 0.9], np.float32), np.array([False, True, True])
    assert fit_threshold(confidences, right, np.ones(3), 1.0) == pytest.approx(0.6)


def test_a_precision_that_cannot_be_had_is_refused_with_the_best_there_is() -> None:
    confidences, right = np.array([0.9, 0.8, 0.7]), np.array([False, True, True])
    with pytest.raises(GateFailed, match=r"0\.95 asked for on the 3 .* best is 0\.667"):
        fit_threshold(confidences, right, np.ones(3), 0.95)


@settings(deadline=None, max_examples=50)
@given(validated(), st.integers(0, 2**32 - 1))
def test_each_labels_f1_is_the_best_that_any_threshold_gives(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int
) -> None:
    scores, _, weights = case
    columns = np.random.default_rng(seed).permuted(np.tile(scores[:, None], 3), axis=0)
    true = np.random.default_rng(seed).random(columns.shape) < 0.4
    found = fit_label_thresholds(columns, true, weights)
    for threshold, column, label in zip(found, columns.T, true.T, strict=True):
        if not weights[label].sum():
            assert threshold == 0.5
            continue
        best = max(f1_from(score, column, label, weights) for score in column)
        assert f1_from(threshold, column, label, weights) == pytest.approx(best)


@settings(deadline=None, max_examples=50)
@given(validated(), PRECISIONS)
def test_labels_with_a_target_precision_get_the_lowest_threshold_or_are_never_said(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], target: float
) -> None:
    scores, true, weights = case
    [found] = fit_label_thresholds(scores[:, None], true[:, None], weights, target)
    try:
        assert found == fit_threshold(scores, true, weights, target)
    except GateFailed:
        assert found == NEVER > scores.max()


def test_a_label_that_reads_as_the_models_own_unknown_is_refused() -> None:
    refuse_unknown(["a", "Unknown"])
    with pytest.raises(ConfigurationError, match=r"'unknown'.*rename"):
        refuse_unknown(["a", "unknown"])
