import numpy as np
import pytest

from linnaeus.training.config import LayersConfig
from linnaeus.training.heads.head import Standardisation

pytestmark = pytest.mark.slow

ACTIVATIONS = ["relu", "gelu", "swish", "tanh", "sigmoid"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_head_in_numpy_equals_the_network(activation: str) -> None:
    from linnaeus.training.heads.learner import build, to_head

    rng = np.random.default_rng(0)
    embeddings = (rng.normal(size=(50, 6)) * 50 + 300).astype(np.float32)
    scale = Standardisation.of(embeddings, np.ones(50, np.float32))
    network = build(6, 3, LayersConfig(hidden=(5, 4), activation=activation))
    network.set_weights([rng.normal(size=w.shape) for w in network.get_weights()])
    expected = network(scale.apply(embeddings)).numpy()
    assert np.allclose(to_head(network, scale).logits(embeddings), expected, atol=1e-3)
    plain = to_head(network, None).logits(scale.apply(embeddings))
    assert np.allclose(plain, expected, atol=1e-4)


def test_the_last_layer_begins_almost_at_nothing_and_hidden_ones_do_not() -> None:
    from linnaeus.training.heads.learner import build

    hidden, hidden_bias, last, last_bias = build(
        400, 30, LayersConfig(hidden=(200,)), seed=1
    ).get_weights()
    assert np.abs(hidden).max() == pytest.approx((6 / 600) ** 0.5, rel=0.01)
    assert last.std() == pytest.approx(0.001, rel=0.15)
    assert np.abs(last).max() <= 0.00228
    assert not hidden_bias.any() and not last_bias.any()


def test_a_seed_decides_how_a_network_begins() -> None:
    from linnaeus.training.heads.learner import build

    config = LayersConfig(hidden=(4, 4))
    first, again, other = (build(4, 4, config, seed).get_weights() for seed in (1, 1, 2))
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], first[2])


def test_dropout_comes_before_every_dense_layer() -> None:
    from linnaeus.training.heads.learner import build

    layers = build(8, 2, LayersConfig(hidden=(5, 4), dropout=0.3)).layers
    kinds = [type(layer).__name__ for layer in layers[1:]]
    assert kinds == ["Dropout", "Dense"] * 3
    assert [layer.rate for layer in layers[1::2]] == [0.3] * 3


def test_kernels_alone_are_penalised() -> None:
    from linnaeus.training.heads.learner import build

    network = build(2, 2, LayersConfig(hidden=(3,), l1=0.25, l2=0.5))
    network.set_weights([np.full(w.shape, -2.0) for w in network.get_weights()])
    assert float(sum(network.losses)) == pytest.approx((6 + 6) * (0.25 * 2 + 0.5 * 4))
    assert not build(2, 2, LayersConfig(l2=0)).losses


def test_smoothed_labels_are_in_the_loss() -> None:
    from linnaeus.training.heads.learner import cross_entropy

    logits = np.array([[2.0, 0.0, -1.0]], np.float32)
    log_scores = (logits - np.log(np.exp(logits).sum()))[0]
    truth = np.array([0.7 + 0.1, 0.1, 0.1])
    found = cross_entropy(np.array([0]), _tensor(logits), "single", 0.3)
    assert found.numpy() == pytest.approx([-(truth * log_scores).sum()], rel=1e-5)


def test_several_labels_have_the_mean_of_their_sigmoid_cross_entropies() -> None:
    from linnaeus.training.heads.learner import cross_entropy

    logits, targets = np.array([[2.0, -1.0]], np.float32), np.array([[1, 0]], np.uint8)
    scores, truth = 1 / (1 + np.exp(-logits)), np.array([[0.9, 0.1]])
    expected = -(truth * np.log(scores) + (1 - truth) * np.log(1 - scores)).mean(axis=1)
    found = cross_entropy(targets, _tensor(logits), "multi", 0.2)
    assert found.numpy() == pytest.approx(expected, rel=1e-5)


def test_an_image_is_right_by_its_highest_score_or_if_exactly_its_labels_are_given() -> None:
    from linnaeus.training.heads.learner import right

    logits = _tensor(np.array([[1.0, -3.0, 0.5], [-1.0, -0.5, 2.0]], np.float32))
    assert right(np.array([0, 1]), logits, "single").numpy().tolist() == [1, 0]
    targets = np.array([[1, 0, 1], [1, 0, 0]], np.uint8)
    assert right(targets, logits, "multi").numpy().tolist() == [1, 0]


def test_a_step_follows_the_gradient_of_the_weighted_loss_and_the_penalty() -> None:
    from linnaeus.training.heads.learner import Learner, build

    rng = np.random.default_rng(3)
    x = rng.normal(size=(7, 4)).astype(np.float32)
    y, w = rng.integers(0, 3, 7), rng.random(7).astype(np.float32)
    config = LayersConfig(
        dropout=0, l1=0.01, l2=0.1, label_smoothing=0.3, optimizer="sgd", learning_rate=0.5
    )
    network = build(4, 3, config)
    kernel, bias = (rng.normal(size=v.shape) for v in network.get_weights())
    network.set_weights([kernel, bias])
    Learner(network, config, "single", 10).learn(x, y, w)
    scores = np.exp(x @ kernel + bias)
    scores /= scores.sum(axis=1, keepdims=True)
    residual = w[:, None] * (scores - (0.7 * np.eye(3)[y] + 0.1)) / 7
    gradient = x.T @ residual + 0.01 * np.sign(kernel) + 0.2 * kernel
    found_kernel, found_bias = network.get_weights()
    assert np.allclose(found_kernel, kernel - 0.5 * gradient, atol=1e-5)
    assert np.allclose(found_bias, bias - 0.5 * residual.sum(axis=0), atol=1e-5)


def test_batches_of_all_sizes_share_one_trace() -> None:
    from linnaeus.training.heads.learner import Learner, build

    config = LayersConfig(hidden=(3,))
    learner = Learner(build(4, 3, config), config, "single", 10)
    for size in (5, 3, 1):
        batch = np.ones((size, 4), np.float32), np.zeros(size, np.int64), np.ones(size, np.float32)
        learner.learn(*batch)
        learner.evaluate(*batch)
    assert learner._learn.experimental_get_tracing_count() == 1
    assert learner._evaluate.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_a_restored_learner_goes_on_as_the_one_that_was_saved(optimizer: str) -> None:
    from linnaeus.training.heads.learner import Learner, build

    config = LayersConfig(
        hidden=(6,), optimizer=optimizer, momentum=0.5, warmup_steps=3, decay="cosine", dropout=0.5
    )
    rng = np.random.default_rng(0)
    batches = [
        (rng.normal(size=(8, 4)).astype(np.float32), rng.integers(0, 3, 8), np.ones(8, np.float32))
        for _ in range(8)
    ]
    saved = Learner(build(4, 3, config, seed=1), config, "single", 10)
    for batch in batches[:4]:
        saved.learn(*batch)
    saved.note(1, np.array([2.0, 1.0, 4.0]))
    saved.learn(*batches[4])
    restored = Learner(build(4, 3, config, seed=2), config, "single", 10)
    restored.restore(saved.state())
    for learner in (saved, restored):
        for batch in batches[5:]:
            learner.learn(*batch)
        learner.note(2, np.array([3.0, 1.0, 4.0]))
    assert saved.curve == restored.curve
    expected, found = saved.state(), restored.state()
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def _tensor(values: np.ndarray):
    import tensorflow as tf

    return tf.constant(values)
