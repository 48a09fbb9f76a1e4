"""Linear heads by full-batch L-BFGS, streamed over a matrix that need not fit memory.

Minimises, over weights W [D, C] and biases b [C] of standardised embeddings z,

    sum_i w_i * loss(z_i W + b, y_i) / sum_i w_i  +  l2 / 2 * |W|^2

with the cross-entropy of `linnaeus.training.heads.loss`: softmax, or a sigmoid for each of several
labels. The strength `l2` is chosen by validation log loss along a warm-started path from strong to
weak (Friedman, Hastie, Tibshirani 2010, 2.5), and the head of that strength is then fitted once
more on training and validation images together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from linnaeus.training.checkpoints import Arrays, Checkpoints, NoCheckpoints
from linnaeus.training.config import LinearConfig
from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.heads.conditioning import Conditioning, Curvature, Parameters, Unconditioned
from linnaeus.training.heads.head import CurvePoint, Dense, Fit, Head, Standardisation, read_blocks
from linnaeus.training.heads.loss import Loss, Score, evaluate, loss_and_residual

PATH_TOLERANCE = 1e-4
"""Relative decrease of the loss at which L-BFGS stops while strengths are compared."""
FINAL_TOLERANCE = 1e-5
"""The same for the head that is published."""
GRADIENT_TOLERANCE = 1e-6
MAX_ITERATIONS = 500
PATIENCE = 2
"""Strengths in a row without a lower validation loss that end the path."""


@dataclass(frozen=True)
class Objective:
    """The loss above for one set of examples, as a function of the parameters."""

    examples: Examples
    classes: int
    standardisation: Standardisation
    curvature: Curvature | None

    @classmethod
    def of(
        cls, examples: Examples, classes: int, standardisation: Standardisation | None = None
    ) -> "Objective":
        """Standardises by the examples' own weighted mean and deviation, if not told how."""
        scale = standardisation or Standardisation.of(examples.embeddings, examples.weights)
        return cls(examples, classes, scale, Curvature.of(examples, classes, scale))

    @property
    def shape(self) -> tuple[int, int]:
        """The parameters' shape."""
        return self.examples.embeddings.shape[1] + 1, self.classes

    def value_and_gradient(self, flat: Parameters, l2: float) -> tuple[float, Parameters]:
        """The loss and its gradient at the flattened parameters, in one pass over the rows."""
        value, gradient, _ = self.evaluate(flat.reshape(self.shape), l2)
        return value, gradient.ravel()

    def evaluate(self, parameters: Parameters, l2: float) -> tuple[float, Parameters, Score]:
        """The loss, its gradient [D + 1, C], and how the head does, in one pass over the rows."""
        loss, gradient = self._data_terms(parameters)
        total = self.examples.weights.sum(dtype=np.float64)
        weights = parameters[:-1]
        gradient /= total
        gradient[:-1] += l2 * weights
        value = loss.loss / total + l2 / 2 * float((weights * weights).sum())
        return value, gradient, Score.of(loss, self.examples)

    def conditioning(self, l2: float) -> Conditioning | Unconditioned:
        """The variables in which L-BFGS is to work."""
        return self.curvature.conditioning(l2) if self.curvature else Unconditioned()

    def head(self, parameters: Parameters) -> Head:
        """The head for raw embeddings, standardisation folded in."""
        return Head((self.layer(parameters),))

    def layer(self, parameters: Parameters) -> Dense:
        """Its layer."""
        return self.standardisation.fold(Dense(parameters[:-1], parameters[-1]))

    def _data_terms(self, parameters: Parameters) -> tuple[Loss, Parameters]:
        """Summed loss and its gradient: float32 products a block, summed in float64."""
        examples, layer = self.examples, self.layer(parameters)
        kernel, bias = layer.kernel.astype(np.float32), layer.bias.astype(np.float32)
        loss, raw = Loss(0.0, 0), np.zeros(self.shape, np.float64)
        for rows, block in read_blocks(examples.embeddings):
            logits = block @ kernel
            logits += bias
            of_block, residual = loss_and_residual(
                logits, examples.targets[rows], examples.weights[rows]
            )
            loss += of_block
            raw[:-1] += block.T @ residual
            raw[-1] += residual.sum(axis=0, dtype=np.float64)
        scale = self.standardisation
        raw[:-1] = (raw[:-1] - np.outer(scale.mean, raw[-1])) / scale.deviation[:, None]
        return loss, raw


@dataclass(frozen=True)
class Minimum:
    """Where L-BFGS ended, and how the head does there on what it was fitted to."""

    parameters: Parameters
    train: Score


@dataclass(frozen=True, eq=False)
class Candidate:
    """One strength of a path: its parameters on the training images, and how they do."""

    l2: float
    parameters: Parameters
    train: Score
    validation: Score

    @property
    def log_loss(self) -> float:
        """What candidates are compared by."""
        return self.validation.log_loss

    def to_arrays(self) -> Arrays:
        """As a checkpoint has it."""
        scores = [self.train, self.validation]
        return {
            "parameters": self.parameters,
            "scores": np.array([(score.log_loss, score.accuracy) for score in scores]),
        }

    @classmethod
    def from_arrays(cls, l2: float, arrays: Arrays) -> "Candidate":
        """From a checkpoint."""
        train, validation = (Score(*score) for score in arrays["scores"].tolist())
        return cls(l2, arrays["parameters"], train, validation)


@dataclass(frozen=True)
class Plan:
    """Which strengths are tried, who is told of it, and where they are kept."""

    l2: Sequence[float]
    report: Callable[[int], None] = lambda done: None
    """Told after each strength how many are done."""
    checkpoints: Checkpoints = NoCheckpoints()
    name: str = "linear"
    """What the checkpoints' names begin with."""


def fit(
    data: LabelledEmbeddings,
    config: LinearConfig,
    report: Callable[[int], None] = lambda done: None,
    checkpoints: Checkpoints = NoCheckpoints(),
) -> Fit:
    """Chooses the strength on validation, then fits training and validation images with it.

    `report` is told after each strength how many are done; each is a checkpoint.
    """
    classes = len(data.labels)
    objective = Objective.of(data.examples("train"), classes)
    plan = Plan(config.l2, report, checkpoints)
    path = follow_path(objective, data.examples("validation"), plan)
    best = best_of(path)

    def finish() -> Head:
        everything = Objective.of(data.examples("train", "validation"), classes)
        return everything.head(minimise(everything, best.l2, best.parameters, FINAL_TOLERANCE))

    return Fit(
        "linear",
        validated=objective.head(best.parameters),
        finish=finish,
        chosen={"l2": best.l2, "validation_log_loss": losses(path)},
        curve=curve(path),
    )


def follow_path(objective: Objective, validation: Examples, plan: Plan) -> list[Candidate]:
    """Fits strength after strength, strongest first, each from the last one's parameters.

    Ends early when validation has got worse `PATIENCE` times in a row.
    """
    path: list[Candidate] = []
    parameters: Parameters = np.zeros(objective.shape)
    for l2 in sorted(set(plan.l2), reverse=True):
        path.append(_candidate(objective, validation, l2, parameters, plan))
        parameters = path[-1].parameters
        plan.report(len(path))
        if len(path) - 1 - path.index(best_of(path)) == PATIENCE:
            break
    return path


def best_of(path: Sequence[Candidate]) -> Candidate:
    """The one that validates best; of equals, the most regularised."""
    return min(path, key=lambda candidate: candidate.log_loss)


def _candidate(
    objective: Objective, validation: Examples, l2: float, start: Parameters, plan: Plan
) -> Candidate:
    """Fitted now, or before the training was interrupted."""
    name = f"{plan.name}-{l2!r}"
    arrays = plan.checkpoints.load(name)
    if arrays is not None:
        return Candidate.from_arrays(l2, arrays)
    lowest = minimum(objective, l2, start, PATH_TOLERANCE)
    score = evaluate(objective.head(lowest.parameters), validation)
    candidate = Candidate(l2, lowest.parameters, lowest.train, score)
    plan.checkpoints.save(name, candidate.to_arrays())
    return candidate


def losses(tried: Sequence[Candidate]) -> dict[str, float]:
    """Validation log loss by strength."""
    return {str(candidate.l2): candidate.log_loss for candidate in tried}


def curve(tried: Sequence[Candidate]) -> tuple[CurvePoint, ...]:
    """A point a strength."""
    return tuple(
        CurvePoint(
            step,
            candidate.train.log_loss,
            candidate.validation.log_loss,
            candidate.train.accuracy,
            candidate.validation.accuracy,
        )
        for step, candidate in enumerate(tried, 1)
    )


def minimise(objective: Objective, l2: float, start: Parameters, tolerance: float) -> Parameters:
    """L-BFGS from `start` until the loss falls by less than `tolerance` of itself in a step."""
    return minimum(objective, l2, start, tolerance).parameters


def minimum(objective: Objective, l2: float, start: Parameters, tolerance: float) -> Minimum:
    """The same, and how the head does there."""
    conditioning = objective.conditioning(l2)
    seen: dict[bytes, Score] = {}

    def value_and_gradient(flat: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        parameters = conditioning.parameters(flat.reshape(objective.shape))
        value, gradient, score = objective.evaluate(parameters, l2)
        seen[flat.tobytes()] = score
        return value, conditioning.gradient(gradient).ravel()

    result = minimize(
        value_and_gradient,
        conditioning.variables(start).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": tolerance, "gtol": GRADIENT_TOLERANCE, "maxiter": MAX_ITERATIONS},
    )
    parameters = conditioning.parameters(result.x.reshape(objective.shape))
    return Minimum(parameters, seen[result.x.tobytes()])
