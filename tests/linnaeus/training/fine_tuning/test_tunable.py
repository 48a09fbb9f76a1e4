from typing import Any

import numpy as np
import pytest

from linnaeus.backbones import Trainable
from linnaeus.training.config import FineTuningConfig
from linnaeus.training.heads.head import Dense

pytestmark = pytest.mark.slow

VALUES = 50


def network(dropout: float = 0.0, hidden: int | None = None, l2_of_trunk: float = 0.0) -> Any:
    """New layers on a trunk that hands on what it is given."""
    import tensorflow as tf

    from linnaeus.training.fine_tuning.tunable import Tunable, new_layers

    trunk = Trainable(
        frozen=tf.identity,
        frozen_shape=None,
        trained=lambda x, training: x,
        learned=[],
        variables=[],
        changed=[],
        parts=[],
        height=1,
        width=1,
        graph="",
        licence="",
        penalties=[lambda: tf.constant(l2_of_trunk)],
    )
    layers = new_layers(VALUES, 3, FineTuningConfig(hidden=hidden), seed=0)
    return Tunable(trunk, layers, dropout), layers


def rows() -> Any:
    return np.random.default_rng(1).normal(size=(4, VALUES)).astype(np.float32)


@pytest.mark.parametrize("hidden", [None, 7])
def test_it_computes_what_its_layers_and_its_head_do(hidden: int | None):
    made, layers = network(hidden=hidden)
    expected = rows()
    if hidden is not None:
        expected = np.maximum(layers[0].apply(expected), 0)
    np.testing.assert_allclose(made.embedding(rows()), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.logits(rows()), made.head().logits(expected), rtol=1e-4)
    assert len(made.hidden_variables) == (0 if hidden is None else 2)


def test_while_it_is_trained_a_share_of_the_embedding_is_dropped_as_the_seed_says():
    import tensorflow as tf

    made, layers = network(dropout=0.5)
    ones = np.ones((200, VALUES), np.float32)
    first, again, other = (made.logits(ones, tf.constant([0, step])) for step in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.std(first, axis=0).min() > 0
    np.testing.assert_allclose(np.mean(first, axis=0), layers[0].kernel.sum(axis=0), atol=0.3)
    np.testing.assert_allclose(made.logits(ones)[0], layers[0].kernel.sum(axis=0), atol=1e-4)


def test_the_penalty_is_of_the_new_kernels_and_what_the_trunk_brings():
    made, layers = network(hidden=7, l2_of_trunk=0.25)
    squares = sum(float((layer.kernel**2).sum()) for layer in layers)
    assert float(made.penalty(0.1)) == pytest.approx(0.25 + 0.1 * squares, rel=1e-5)
    assert float(made.penalty(0.0)) == 0.25


def test_the_last_layer_begins_as_it_is_told_to():
    from linnaeus.training.fine_tuning.tunable import new_layers

    start = Dense(np.ones((VALUES, 3), np.float32), np.zeros(3, np.float32))
    assert new_layers(VALUES, 3, FineTuningConfig(), 0, start) == [start]
    first, second = new_layers(VALUES, 3, FineTuningConfig(hidden=7), 0)
    assert (first.kernel.shape, second.kernel.shape) == ((VALUES, 7), (7, 3))
    limit = np.sqrt(6 / (VALUES + 7))
    assert np.abs(first.kernel).max() == pytest.approx(limit, rel=0.05)
