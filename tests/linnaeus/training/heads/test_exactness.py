"""Worker and exported graph compute the same head, both as exactly as an oracle of many digits."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from linnaeus.training.config import KernelConfig, LinearConfig
from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.heads import kernel, linear
from linnaeus.training.heads.head import Dense, Head, Standardisation
from tests.linnaeus.training.heads.rows import labelled

Longest = NDArray[np.longdouble]


def curved(images: int, size: int, seed: int = 0) -> LabelledEmbeddings:
    """Sparse embeddings, none below 0, of three labels that curved borders tell apart surely.

    So weak penalties win, and weights are large.
    """
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(images, 6))
    of_labels = rng.normal(size=(6, 6, 3))
    targets = np.einsum("ni,ijc,nj->nc", cause, of_labels, cause).argmax(axis=1)
    activations = cause @ rng.normal(size=(6, size)) + rng.normal(-0.8, 0.7, size)
    activations += 0.05 * rng.normal(size=activations.shape)
    embeddings = np.clip(activations * rng.lognormal(-1.5, 1.0, size), 0, 6)
    rows = Examples(embeddings.astype(np.float32), targets, np.ones(images, np.float32))
    return labelled(rows, images - 2 * (images // 10), images // 10, images // 10)


def oracle(head: Head, embeddings: NDArray[np.float32]) -> Longest:
    """The logits by differences and sums of 64 binary digits."""
    x: Longest = embeddings.astype(np.longdouble)
    for layer in head.layers:
        if isinstance(layer, Dense):
            assert layer.activation == "linear"
            x = x @ layer.kernel.astype(np.longdouble) + layer.bias
        else:
            scaled = (x - layer.mean) * layer.scale
            squares = [((scaled - centre) ** 2).sum(axis=1) for centre in layer.centres]
            x = np.exp(-layer.gamma * np.stack(squares, axis=1))
    return x


@cache
def kernel_head(images: int, size: int, centres: int) -> tuple[Head, NDArray[np.float32]]:
    data = curved(images, size)
    config = KernelConfig(centres, gamma=(0.1,), l2=(1e-3, 1e-4))
    return kernel.fit(data, config, seed=0).finish(), data.rows.embeddings[-25:]


@pytest.mark.parametrize(
    ("images", "size", "centres"),
    [
        (1_000, 48, 200),
        pytest.param(10_000, 48, 200, marks=pytest.mark.soak),
        pytest.param(100_000, 12, 100, marks=pytest.mark.slow),
    ],
)
def test_a_kernel_head_gives_what_exact_arithmetic_gives(images: int, size: int, centres: int):
    head, embeddings = kernel_head(images, size, centres)
    exact = oracle(head, embeddings)
    last = head.layers[-1]
    assert isinstance(last, Dense)
    assert np.abs(last.kernel).sum(axis=0).max() > 100 * np.abs(exact).max()
    assert np.abs(head.logits(embeddings) - exact).max() < 1e-9 * np.abs(exact).max()


@pytest.mark.slow
@pytest.mark.parametrize("images", [1_000, 10_000])
def test_the_exported_graph_gives_the_same(images: int):
    from linnaeus.training.exporting.signatures import ExportedHead

    head, embeddings = kernel_head(images, 48, 200)
    found = ExportedHead(head)(embeddings).numpy()
    exact = oracle(head, embeddings)
    assert np.abs(found - exact).max() < 1e-9 * np.abs(exact).max()


def test_a_column_that_hardly_varies_around_a_large_value_costs_a_linear_head_no_digit():
    data = curved(1_000, 20)
    rows, rng = data.rows, np.random.default_rng(1)
    rows.embeddings[:, :5] = 300 + 3e-3 * rng.normal(size=(1_000, 5))
    head = linear.fit(data, LinearConfig(l2=(1e-4,))).finish()
    exact = oracle(head, rows.embeddings)
    assert np.abs(head.logits(rows.embeddings) - exact).max() < 1e-9 * np.abs(exact).max()


def test_standardisation_is_folded_in_without_rounding():
    rng = np.random.default_rng(0)
    layer = Dense(rng.normal(size=(4, 2)).astype(np.float32), np.zeros(2, np.float32))
    scale = Standardisation(np.full(4, 1e3), np.full(4, 1e-3))
    x = 1e3 + 1e-3 * rng.normal(size=(9, 4))
    plain = (x - scale.mean) / scale.deviation @ layer.kernel
    assert np.allclose(scale.fold(layer).apply(x), plain, rtol=0, atol=1e-7)
