"""Linear softmax regression by full-batch L-BFGS, streamed over a matrix that need not fit memory.

Minimises, over weights W [D, C] and biases b [C] of standardised embeddings z,

    sum_i w_i * -log softmax(z_i W + b)[y_i] / sum_i w_i  +  l2 / 2 * |W|^2

(multinomial logistic regression: Bishop, Pattern Recognition and Machine Learning, 4.3.4). The
strength `l2` is chosen by validation log loss along a warm-started path from strong to weak
(Friedman, Hastie, Tibshirani 2010, 2.5), and the head of that strength is then fitted once more on
training and validation images together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from training.config import LinearConfig
from training.evaluation import log_loss
from training.examples import Examples, LabelledEmbeddings
from training.heads import Dense, Fit, Head, Standardisation, blocks, log_softmax

PATH_TOLERANCE = 1e-4
"""Relative decrease of the loss at which L-BFGS stops while strengths are compared."""
FINAL_TOLERANCE = 1e-5
"""The same for the head that is published."""
GRADIENT_TOLERANCE = 1e-6
MAX_ITERATIONS = 500
PATIENCE = 2
"""Strengths in a row without a lower validation loss that end the path."""

Parameters = NDArray[np.float64]
"""[D + 1, C]: the weights of standardised embeddings, and below them the biases."""


@dataclass(frozen=True)
class Objective:
    """The loss above for one set of examples, as a function of the parameters."""

    examples: Examples
    classes: int
    standardisation: Standardisation

    @classmethod
    def of(cls, examples: Examples, classes: int) -> "Objective":
        """Standardises by the examples' own weighted mean and deviation."""
        scale = Standardisation.of(examples.embeddings, examples.weights)
        return cls(examples, classes, scale)

    @property
    def shape(self) -> tuple[int, int]:
        """The parameters' shape."""
        return self.examples.embeddings.shape[1] + 1, self.classes

    def value_and_gradient(self, flat: Parameters, l2: float) -> tuple[float, Parameters]:
        """The loss and its gradient at the flattened parameters, in one pass over the rows."""
        parameters = flat.reshape(self.shape)
        loss, gradient = self._data_terms(parameters)
        weights = parameters[:-1]
        gradient[:-1] += l2 * weights
        return loss + l2 / 2 * float((weights * weights).sum()), gradient.ravel()

    def head(self, parameters: Parameters) -> Head:
        """The head for raw embeddings, standardisation folded in."""
        return Head((self._layer(parameters),))

    def _layer(self, parameters: Parameters) -> Dense:
        return self.standardisation.fold(Dense(parameters[:-1], parameters[-1]))

    def _data_terms(self, parameters: Parameters) -> tuple[float, Parameters]:
        """Mean loss and its gradient: float32 products a block, summed in float64."""
        x, y, w = self.examples.embeddings, self.examples.targets, self.examples.weights
        layer = self._layer(parameters)
        loss, raw = 0.0, np.zeros(self.shape, np.float64)
        for rows in blocks(len(x)):
            block = x[rows]
            block_loss, residual = _loss_and_residual(
                block @ layer.kernel + layer.bias, y[rows], w[rows]
            )
            loss += block_loss
            raw[:-1] += block.T @ residual
            raw[-1] += residual.sum(axis=0, dtype=np.float64)
        total = w.sum(dtype=np.float64)
        scale = self.standardisation
        raw[:-1] = (raw[:-1] - np.outer(scale.mean, raw[-1])) / scale.deviation[:, None]
        return loss / total, raw / total


@dataclass(frozen=True)
class Candidate:
    """One strength of the path: its parameters on the training images, and how they validate."""

    l2: float
    parameters: Parameters
    log_loss: float


def fit(
    data: LabelledEmbeddings,
    config: LinearConfig,
    report: Callable[[int], None] = lambda done: None,
) -> Fit:
    """Chooses the strength on validation, then fits training and validation images with it.

    `report` is told after each strength how many are done.
    """
    classes = len(data.labels)
    objective = Objective.of(data.examples("train"), classes)
    path = []
    for candidate in follow_path(objective, data.examples("validation"), config):
        path.append(candidate)
        report(len(path))
    best = min(path, key=lambda candidate: candidate.log_loss)

    def finish() -> Head:
        everything = Objective.of(data.examples("train", "validation"), classes)
        return everything.head(minimise(everything, best.l2, best.parameters, FINAL_TOLERANCE))

    return Fit(
        "linear",
        validated=objective.head(best.parameters),
        finish=finish,
        chosen={
            "l2": best.l2,
            "validation_log_loss": {str(tried.l2): tried.log_loss for tried in path},
        },
    )


def follow_path(
    objective: Objective, validation: Examples, config: LinearConfig
) -> Iterator[Candidate]:
    """Fits strength after strength, strongest first, each from the last one's parameters.

    Ends early when validation has got worse `PATIENCE` times in a row.
    """
    parameters: Parameters = np.zeros(objective.shape)
    best, worse = np.inf, 0
    for l2 in sorted(set(config.l2), reverse=True):
        parameters = minimise(objective, l2, parameters, PATH_TOLERANCE)
        logits = objective.head(parameters).logits_by_block(validation.embeddings)
        loss = log_loss(log_softmax(logits), validation.targets, validation.weights)
        yield Candidate(l2, parameters, loss)
        worse = 0 if loss < best else worse + 1
        best = min(best, loss)
        if worse == PATIENCE:
            return


def minimise(objective: Objective, l2: float, start: Parameters, tolerance: float) -> Parameters:
    """L-BFGS from `start` until the loss falls by less than `tolerance` of itself in a step."""
    found = minimize(
        objective.value_and_gradient,
        start.ravel(),
        args=(l2,),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": tolerance, "gtol": GRADIENT_TOLERANCE, "maxiter": MAX_ITERATIONS},
    )
    parameters: Parameters = found.x.reshape(objective.shape)
    return parameters


def _loss_and_residual(
    logits: NDArray[np.float32], label_ids: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[float, NDArray[np.float32]]:
    """Weighted loss of a block, and weight * (probability - one-hot label), [n, C]; in place."""
    every = np.arange(len(logits))
    logits -= logits.max(axis=1, keepdims=True)
    winners = logits[every, label_ids]
    probabilities = np.exp(logits, out=logits)
    sums = probabilities.sum(axis=1)
    loss = float(weights.astype(np.float64) @ (np.log(sums) - winners))
    probabilities *= (weights / sums)[:, None]
    probabilities[every, label_ids] -= weights
    return loss, probabilities
