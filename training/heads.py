"""A head: the dense layers that turn an embedding into class scores, in numpy.

Every trainer ends in a `Head`; evaluation and export know nothing else of how it was made.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]

BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Dense:
    """`x @ kernel + bias`; kernel [inputs, outputs], bias [outputs]."""

    kernel: NDArray[np.floating]
    bias: NDArray[np.floating]


@dataclass(frozen=True)
class Head:
    """Dense layers with ReLU between them; the last gives the logits [n, C]."""

    layers: tuple[Dense, ...]

    def logits(self, embeddings: Matrix) -> Matrix:
        """Class logits [n, C] of embeddings [n, D], as computed by one product a layer."""
        *hidden, last = self.layers
        activations = embeddings
        for layer in hidden:
            activations = np.maximum(activations @ layer.kernel + layer.bias, 0)
        logits: Matrix = activations @ last.kernel + last.bias
        return logits

    def logits_by_block(self, embeddings: Matrix) -> Matrix:
        """The same for embeddings that are larger than memory, some thousand rows at a time."""
        return np.concatenate([self.logits(embeddings[rows]) for rows in blocks(len(embeddings))])


@dataclass(frozen=True)
class Fit:
    """What a trainer returns: a head, and what is needed to judge and to describe it."""

    head: Head
    """What is published."""
    validated: Head
    """What validation may judge: the same, but never fitted on validation images."""
    chosen: Mapping[str, Any]
    """What the trainer found out by itself, for the model's description."""


@dataclass(frozen=True)
class Standardisation:
    """`(x - mean) / deviation`, both [D] float64."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, embeddings: Matrix, weights: Vector) -> "Standardisation":
        """The weighted mean and deviation of the rows; constant columns get deviation 1."""
        total = weights.sum(dtype=np.float64)
        mean = _weighted_sum(embeddings, weights, 0.0, power=1) / total
        variance = _weighted_sum(embeddings, weights, mean, power=2) / total
        deviation = np.sqrt(variance)
        constant = deviation <= 1e-4 * deviation.max(initial=0.0)
        return cls(mean, np.where(constant, 1.0, deviation))

    def apply(self, embeddings: Matrix) -> Matrix:
        """Standardised rows, [n, D]."""
        standardised: Matrix = ((embeddings - self.mean) / self.deviation).astype(np.float32)
        return standardised

    def fold(self, layer: Dense) -> Dense:
        """A layer that takes raw embeddings and gives what `layer` gives for standardised ones."""
        kernel = layer.kernel / self.deviation[:, None]
        bias = layer.bias - self.mean @ kernel
        return Dense(kernel.astype(np.float32), bias.astype(np.float32))


def blocks(rows: int, block_rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Consecutive slices that cover `rows` rows; one empty slice if there are none."""
    for start in range(0, max(rows, 1), block_rows):
        yield slice(start, min(start + block_rows, rows))


def with_temperature(head: Head, temperature: float) -> Head:
    """The head whose logits are divided by `temperature`."""
    *hidden, last = head.layers
    scale = np.float32(1 / temperature)
    return Head((*hidden, Dense(last.kernel * scale, last.bias * scale)))


def log_softmax(logits: Matrix) -> NDArray[np.float64]:
    """Logarithms of the class probabilities, [n, C]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_scores: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_scores


def _weighted_sum(
    embeddings: Matrix, weights: Vector, centre: NDArray[np.float64] | float, power: int
) -> NDArray[np.float64]:
    """Sum over rows of weight times (row - centre) ** power, accumulated in float64."""
    total = np.zeros(embeddings.shape[1], np.float64)
    for rows in blocks(len(embeddings)):
        centred = (embeddings[rows] - np.asarray(centre, np.float32)) ** power
        total += weights[rows] @ centred
    return total
