"""A head: the layers that turn an embedding into class scores, in numpy.

Every trainer ends in a `Head`; evaluation and export know nothing else of how it was made.

All is computed in float64: large weights of whitened kernels, and standardisation that is folded
into weights, cancel, and would carry float32's rounding into scores at 10^4 times its size.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

from linnaeus.tables import release
from linnaeus.training.config import Activation

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]
Exact = NDArray[np.float64]

BLOCK_ROWS = 1024
"""Few enough that a block is still in the processor's cache when it is multiplied again."""

ACTIVATIONS: Mapping[str, Callable[[Exact], Exact]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "swish": lambda x: x * expit(x),
    "tanh": np.tanh,
    "sigmoid": expit,
}
"""By the names that Keras has for them; `gelu` is the exact one."""


@dataclass(frozen=True)
class Dense:
    """`activation(x @ kernel + bias)`; kernel [inputs, outputs], bias [outputs]."""

    kernel: NDArray[np.floating]
    bias: NDArray[np.floating]
    activation: Activation | Literal["linear"] = "linear"

    def apply(self, x: Exact) -> Exact:
        """Activations [n, outputs] of inputs [n, inputs]."""
        return ACTIVATIONS[self.activation](x @ self.kernel + self.bias)


@dataclass(frozen=True)
class RadialBasis:
    """`exp(-gamma * |(x - mean) * scale - centre|^2)` of each centre.

    Centres are [M, D], mean and scale [D]. Without the mean, squares of values far from 0 would
    drown the distances between them in rounding errors.
    """

    centres: Matrix
    mean: Vector
    scale: Vector
    gamma: float

    def apply(self, x: NDArray[Any]) -> NDArray[Any]:
        """Values [n, M] of inputs [n, D], in the precision of the inputs."""
        scaled, centres = (x - self.mean) * self.scale, self.centres.astype(x.dtype, copy=False)
        values = scaled @ centres.T
        values *= -2
        values += np.einsum("ij,ij->i", scaled, scaled)[:, None]
        values += np.einsum("ij,ij->i", centres, centres)
        np.maximum(values, 0, out=values)
        values *= -self.gamma
        closeness: NDArray[Any] = np.exp(values, out=values)
        return closeness


Layer = Dense | RadialBasis


@dataclass(frozen=True)
class Head:
    """Layers one after the other; the last is a linear `Dense` and gives the logits [n, C]."""

    layers: tuple[Layer, ...]

    def logits(self, embeddings: NDArray[np.floating]) -> Exact:
        """Class logits [n, C] of embeddings [n, D], as computed by one product a layer."""
        activations = embeddings.astype(np.float64, copy=False)
        for layer in self.layers:
            activations = layer.apply(activations)
        return activations

    def logits_by_block(self, embeddings: Matrix) -> Exact:
        """The same for embeddings that are larger than memory, some thousand rows at a time."""
        return np.concatenate([self.logits(block) for _, block in read_blocks(embeddings)])


@dataclass(frozen=True)
class CurvePoint:
    """How a head did after a step of its training (an epoch, or a regularisation strength)."""

    step: int
    train_loss: float
    validation_loss: float
    train_accuracy: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class Fit:
    """What a trainer returns: a head to validate, and how to make the final one."""

    kind: str
    """`linear`, `kernel`, `layers` or `fine-tuned`."""
    validated: Head
    """Never fitted on validation images."""
    finish: Callable[[], Head]
    """Makes the head to publish, which may have been fitted on validation images, too."""
    chosen: Mapping[str, Any]
    """What describes this head among others, and what the trainer chose by itself."""
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class Standardisation:
    """`(x - mean) / deviation`, both [D] float64."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, embeddings: Matrix, weights: Vector) -> "Standardisation":
        """The weighted mean and deviation of the rows; constant columns get deviation 1."""
        mean, variance = _moments(embeddings, weights)
        deviation = np.sqrt(variance)
        constant = deviation <= 1e-4 * deviation.max(initial=0.0)
        return cls(mean, np.where(constant, 1.0, deviation))

    @classmethod
    def alike(cls, embeddings: Matrix, weights: Vector) -> "Standardisation":
        """The same with one deviation for all columns, so that distances keep their proportions."""
        mean, variance = _moments(embeddings, weights)
        common = float(np.sqrt(variance.mean())) or 1.0
        return cls(mean, np.full(len(mean), common))

    def apply(self, embeddings: Matrix) -> Matrix:
        """Standardised rows, [n, D]."""
        standardised: Matrix = ((embeddings - self.mean) / self.deviation).astype(np.float32)
        return standardised

    def fold(self, layer: Dense) -> Dense:
        """A layer that takes raw embeddings and gives what `layer` gives for standardised ones."""
        kernel = layer.kernel / self.deviation[:, None]
        return Dense(kernel, layer.bias - self.mean @ kernel, layer.activation)


def blocks(rows: int, block_rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Consecutive slices that cover `rows` rows; one empty slice if there are none."""
    for start in range(0, max(rows, 1), block_rows):
        yield slice(start, min(start + block_rows, rows))


def read_blocks(matrix: Matrix) -> Iterator[tuple[slice, Matrix]]:
    """Each of `blocks` with its rows, which leave this process's memory if they are mapped there.

    The operating system still has them; but a matrix larger than memory does not fill it.
    """
    for rows in blocks(len(matrix)):
        block = matrix[rows]
        yield rows, block
        release(block)


def with_temperature(head: Head, temperature: float) -> Head:
    """The head whose logits are divided by `temperature`."""
    *hidden, last = head.layers
    assert isinstance(last, Dense)
    return Head((*hidden, Dense(last.kernel / temperature, last.bias / temperature)))


def log_softmax(logits: NDArray[np.floating]) -> Exact:
    """Logarithms of the class probabilities, [n, C]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_scores: Exact = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_scores


def _moments(
    embeddings: Matrix, weights: Vector
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weighted mean and variance of each column."""
    total = weights.sum(dtype=np.float64)
    mean = _weighted_sum(embeddings, weights, 0.0, power=1) / total
    return mean, _weighted_sum(embeddings, weights, mean, power=2) / total


def _weighted_sum(
    embeddings: Matrix, weights: Vector, centre: NDArray[np.float64] | float, power: int
) -> NDArray[np.float64]:
    """Sum over rows of weight times (row - centre) ** power, accumulated in float64."""
    total = np.zeros(embeddings.shape[1], np.float64)
    for rows, block in read_blocks(embeddings):
        total += weights[rows] @ (block - np.asarray(centre, np.float32)) ** power
    return total
