import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.training.evaluation.ranking import average_precision, top_k_accuracy

SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(SEEDS, st.integers(1, 30), st.integers(2, 7), st.integers(1, 5))
def test_top_k_accuracy_equals_sorting_each_image(
    seed: int, images: int, classes: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, (images, classes)) / 5
    truth = rng.integers(0, classes, images)
    hits = [
        label in sorted(range(classes), key=lambda one: (-row[one], one))[:k]
        for row, label in zip(scores, truth, strict=True)
    ]
    assert top_k_accuracy(scores, truth, k) == pytest.approx(np.mean(hits))


@settings(deadline=None)
@given(SEEDS, st.integers(1, 30))
def test_average_precision_equals_scikit_learns(seed: int, images: int) -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(seed)
    scores, true = rng.integers(0, 6, images) / 6, rng.random(images) < 0.4
    true[0] = True
    assert average_precision(scores, true) == pytest.approx(average_precision_score(true, scores))


def test_a_label_that_no_image_has_has_an_average_precision_of_zero() -> None:
    assert average_precision(np.array([0.5, 0.2]), np.array([False, False])) == 0.0
