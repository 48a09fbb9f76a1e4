import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.training.evaluation.calibration import fit_temperature
from linnaeus.training.evaluation.decisions import scores_of
from linnaeus.training.heads.head import Dense, Head, log_softmax, with_temperature


def sampled(
    seed: int, images: int = 2000, classes: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = (2 * rng.normal(size=(images, classes))).astype(np.float32)
    scores = np.exp(log_softmax(logits))
    truth = (scores.cumsum(axis=1) < rng.random((images, 1))).sum(axis=1)
    return logits, truth, np.ones(images, np.float32)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_the_temperature_of_distorted_logits_is_found(temperature: float) -> None:
    logits, truth, weights = sampled(1)
    assert fit_temperature(logits * temperature, truth, weights) == pytest.approx(
        temperature, rel=0.1
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_no_other_temperature_is_better(seed: int, images: int) -> None:
    """Against a search of a grid, by the loss of truths that are doubted a little."""
    rng = np.random.default_rng(seed)
    logits = (3 * rng.normal(size=(images, 3))).astype(np.float32)
    truth, weights = rng.integers(0, 3, images), rng.random(images).astype(np.float32) + 0.1
    doubted = np.full((images, 3), 1 / (images + 2) / 2)
    doubted[np.arange(images), truth] = 1 - 1 / (images + 2)

    def loss(temperature: float) -> float:
        each = -(doubted * log_softmax(logits / np.float32(temperature))).sum(axis=1)
        return float(np.average(each, weights=weights))

    found = loss(fit_temperature(logits, truth, weights))
    assert found <= min(loss(one) for one in np.geomspace(0.05, 20, 60)) + 1e-4


@pytest.mark.parametrize("task", ["single", "multi"])
def test_a_few_images_that_are_all_right_do_not_make_scores_certain(task: str) -> None:
    logits = np.array([[2, -2], [-2, 2]] * 4, np.float32)
    targets = np.array([[1, 0], [0, 1]] * 4) if task == "multi" else np.array([0, 1] * 4)
    temperature = fit_temperature(logits, targets, np.ones(8, np.float32), task)
    assert scores_of(logits / temperature, task).max() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_the_temperature_of_several_labels_logits_is_found(temperature: float) -> None:
    rng = np.random.default_rng(2)
    logits = (2 * rng.normal(size=(2000, 3))).astype(np.float32)
    truth = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    found = fit_temperature(logits * temperature, truth, np.ones(2000, np.float32), "multi")
    assert found == pytest.approx(temperature, rel=0.1)


def test_a_folded_temperature_divides_the_logits() -> None:
    rng = np.random.default_rng(0)
    layers = (
        Dense(rng.normal(size=(5, 7)).astype(np.float32), np.ones(7, np.float32)),
        Dense(rng.normal(size=(7, 3)).astype(np.float32), np.ones(3, np.float32)),
    )
    head, embeddings = Head(layers), rng.normal(size=(6, 5)).astype(np.float32)
    cooled = with_temperature(head, 2.5).logits(embeddings)
    assert np.allclose(cooled, head.logits(embeddings) / 2.5, rtol=1e-5)
