import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from linnaeus.training.data.examples import Examples
from linnaeus.training.heads.head import Dense, Head
from linnaeus.training.heads.loss import Score, each_loss, evaluate, loss_and_residual

IDENTITY = Head((Dense(np.eye(4, dtype=np.float32), np.zeros(4, np.float32)),))


def random(seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(30, 4)) * rng.choice([1, 30])).astype(np.float32)
    return logits, rng.random(30).astype(np.float32), rng


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_one_label_is_scored_as_the_formula_says(seed: int) -> None:
    logits, weights, rng = random(seed)
    label_ids = rng.integers(0, 4, 30)
    chances = softmax(logits.astype(np.float64), axis=1)
    truth = np.eye(4)[label_ids]
    expected = -weights @ np.log((chances * truth).sum(axis=1))
    loss, residual = loss_and_residual(logits.copy(), label_ids, weights)
    assert loss.loss == pytest.approx(expected, rel=1e-4)
    assert loss.right == (logits.argmax(axis=1) == label_ids).sum()
    assert np.allclose(residual, weights[:, None] * (chances - truth), atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_several_labels_are_scored_one_by_one(seed: int) -> None:
    logits, weights, rng = random(seed)
    truth = rng.integers(0, 2, (30, 4)).astype(np.uint8)
    exact = logits.astype(np.float64)
    expected = -weights @ np.log(expit(np.where(truth, exact, -exact))).sum(axis=1)
    loss, residual = loss_and_residual(logits.copy(), truth, weights)
    assert loss.loss == pytest.approx(expected, rel=1e-4)
    assert loss.right == ((logits >= 0) == truth).all(axis=1).sum()
    assert np.allclose(residual, weights[:, None] * (expit(exact) - truth), atol=1e-5)


def test_a_score_is_a_weighted_mean_over_images_and_labels() -> None:
    certain = np.full((3, 4), -40, np.float32)
    truth = np.zeros((3, 4), np.uint8)
    truth[0] = 1
    weights = np.array([0.5, 1, 0.5], np.float32)
    assert evaluate(IDENTITY, Examples(certain, truth, weights)) == Score(10.0, 2 / 3)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["single", "multi"]))
def test_the_losses_of_each_image_have_the_mean_of_the_score(seed: int, task: str) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, (30, 3)) if task == "multi" else rng.integers(0, 3, 30)
    embeddings = rng.normal(size=(30, 4)).astype(np.float32)
    examples = Examples(embeddings, targets, rng.random(30).astype(np.float32) + 0.1)
    kernel, bias = rng.normal(size=(4, 3)), rng.normal(size=3)
    head = Head((Dense(kernel.astype(np.float32), bias.astype(np.float32)),))
    each = each_loss(head, examples)
    mean = np.average(each, weights=examples.weights)
    assert np.isclose(mean, evaluate(head, examples).log_loss, rtol=1e-4)
