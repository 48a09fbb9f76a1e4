import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.calibration import fit_temperature
from training.evaluation import log_loss
from training.heads import Dense, Head, log_softmax, with_temperature


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


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_log_loss_is_never_worse_afterwards(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    logits = (5 * rng.normal(size=(images, 3))).astype(np.float32)
    truth, weights = rng.integers(0, 3, images), rng.random(images).astype(np.float32) + 0.1
    temperature = fit_temperature(logits, truth, weights)
    after = log_loss(log_softmax(logits / temperature), truth, weights)
    assert after <= log_loss(log_softmax(logits), truth, weights) + 1e-9


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
