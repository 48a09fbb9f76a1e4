import numpy as np
import pyarrow as pa
import pytest

from training.config import LayersConfig
from training.evaluation import evaluate_logits
from training.examples import SPLITS, Examples, LabelledEmbeddings
from training.heads import Standardisation

pytestmark = pytest.mark.slow


def rings(images: int = 600, seed: int = 0) -> LabelledEmbeddings:
    """Two labels that no linear head tells apart: inside and outside a circle."""
    rng = np.random.default_rng(seed)
    radius = rng.choice([1.0, 2.5], images)
    angle = rng.random(images) * 2 * np.pi
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    points += 0.1 * rng.normal(size=points.shape)
    rows = Examples(
        (points * 50 + 300).astype(np.float32),
        (radius > 2).astype(np.int64),
        np.ones(images, np.float32),
    )
    third = images // 3
    slices = {name: slice(i * third, (i + 1) * third) for i, name in enumerate(SPLITS)}
    uris = pa.array([f"/{i}.png" for i in range(images)])
    return LabelledEmbeddings(rows, uris, uris, ("inside", "outside"), slices, {})


CONFIG = LayersConfig(
    hidden=(32,), dropout=0.1, learning_rate=0.01, batch_size=32, epochs=30, patience=30
)


def accuracy(data: LabelledEmbeddings, config: LayersConfig, seed: int = 0) -> float:
    from training.layers import fit

    test = data.examples("test")
    logits = fit(data, config, seed).finish().logits(test.embeddings)
    return evaluate_logits(logits, test.targets, data.labels).accuracy


def test_hidden_layers_learn_what_no_linear_head_can() -> None:
    assert accuracy(rings(), CONFIG) > 0.95


def test_a_seed_decides_every_weight() -> None:
    from training.layers import fit

    config = LayersConfig(hidden=(8,), epochs=3)
    first, again, other = (fit(rings(), config, seed).finish() for seed in (1, 1, 2))
    for one, two in zip(first.layers, again.layers, strict=True):
        assert np.array_equal(one.kernel, two.kernel)
    assert not np.array_equal(first.layers[0].kernel, other.layers[0].kernel)


def test_the_head_in_numpy_equals_the_network() -> None:
    from training.layers import build, to_head

    examples = rings().rows
    scale = Standardisation.of(examples.embeddings, examples.weights)
    network = build(2, 3, LayersConfig(hidden=(5, 4)))
    expected = network.predict(scale.apply(examples.embeddings), verbose=0)
    found = to_head(network, scale).logits(examples.embeddings)
    assert np.allclose(found, expected, atol=1e-3)


def test_training_stops_early_and_keeps_the_best_weights() -> None:
    from training.layers import fit

    config = LayersConfig(learning_rate=3.0, hidden=(16,), epochs=40, patience=3)
    told: list[int] = []
    found = fit(rings(), config, 0, told.append)
    assert told[-1] == found.chosen["epochs"] == found.chosen["best_epoch"] + 3 < 40
    until_best = LayersConfig(
        learning_rate=3.0, hidden=(16,), epochs=found.chosen["best_epoch"], patience=3
    )
    best = fit(rings(), until_best, 0).finish()
    assert np.array_equal(found.finish().layers[0].kernel, best.layers[0].kernel)


def test_images_of_no_weight_teach_nothing() -> None:
    data = rings()
    rows = data.rows
    wrong = np.arange(len(rows)) % 3 == 0
    labels = np.where(wrong, 1 - rows.targets, rows.targets)
    labels[400:] = rows.targets[400:]
    weights = np.where(wrong, 0.0, 1.0).astype(np.float32)
    misled = Examples(rows.embeddings, labels, weights)
    weighted = LabelledEmbeddings(misled, data.uris, data.digests, data.labels, data.slices, {})
    assert accuracy(weighted, CONFIG) > 0.95


def test_fewer_images_than_a_batch_still_train() -> None:
    assert accuracy(rings(60), LayersConfig(batch_size=1000, epochs=2)) >= 0


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_every_optimiser_learns_at_its_rate(optimizer: str) -> None:
    from training.layers import build

    network = build(2, 2, LayersConfig(optimizer=optimizer, learning_rate=0.02))
    assert type(network.optimizer).__name__.lower() == optimizer
    assert float(network.optimizer.learning_rate.numpy()) == pytest.approx(0.02)


def test_smoothed_labels_and_decay_are_in_the_loss() -> None:
    from training.layers import build

    logits = np.array([[2.0, 0.0]])
    truth = np.array([[1.0, 0.0]])
    network = build(2, 2, LayersConfig(hidden=(3,), label_smoothing=0.2, l2=0.5))
    log_scores = logits - np.log(np.exp(logits).sum())
    smoothed = -(0.9 * log_scores[0, 0] + 0.1 * log_scores[0, 1])
    assert float(network.loss(truth, logits)) == pytest.approx(smoothed, rel=1e-5)
    kernels = [layer.kernel for layer in network.layers if hasattr(layer, "kernel")]
    decay = 0.5 * sum(float((kernel.numpy() ** 2).sum()) for kernel in kernels)
    assert float(sum(network.losses)) == pytest.approx(decay, rel=1e-5)
