"""A linear head on radial basis functions around some training images.

The functions are whitened by their values at the centres themselves (the Nystroem approximation of
the whole kernel: Williams and Seeger 2001), so the head is a Gaussian kernel machine whose penalty
is the kernel's own norm, and is fitted like any linear head. The whitening ends up in the kernel of
the dense layer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from linnaeus.tables import memory_map
from linnaeus.training.checkpoints import Checkpoints, NoCheckpoints
from linnaeus.training.config import KernelConfig
from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.heads.conditioning import Parameters
from linnaeus.training.heads.head import (
    Dense,
    Fit,
    Head,
    Matrix,
    RadialBasis,
    Standardisation,
    read_blocks,
)
from linnaeus.training.heads.linear import (
    FINAL_TOLERANCE,
    Candidate,
    Objective,
    Plan,
    best_of,
    curve,
    follow_path,
    losses,
    minimise,
)

SMALLEST_SHARE = 1e-6
"""Of the largest eigenvalue: directions below it are rounding errors."""


@dataclass(frozen=True)
class Features:
    """Whitened radial basis functions: `basis.apply(x) @ whitening`."""

    basis: RadialBasis
    whitening: NDArray[np.float64]
    """[M, R], R at most M"""

    @classmethod
    def around(cls, centres: Matrix, standardisation: Standardisation, gamma: float) -> "Features":
        """`centres` are raw embeddings [M, D]; gamma is of a mean, not a sum, of squares."""
        mean = standardisation.mean.astype(np.float32)
        scale = (1 / standardisation.deviation).astype(np.float32)
        basis = RadialBasis((centres - mean) * scale, mean, scale, gamma / len(scale))
        values, vectors = eigh(basis.apply(centres.astype(np.float64)))
        kept = values > SMALLEST_SHARE * values[-1]
        return cls(basis, vectors[:, kept] / np.sqrt(values[kept]))

    def of(self, examples: Examples) -> Examples:
        """The examples with features [n, R] for embeddings, in a file that ends with them.

        In float32, at half the time: the optimum is searched for far more coarsely.
        """
        whitening = self.whitening.astype(np.float32)
        features = memory_map((len(examples), self.whitening.shape[1]))
        blocks = zip(read_blocks(examples.embeddings), read_blocks(features), strict=True)
        for (_, block), (_, target) in blocks:
            np.matmul(self.basis.apply(block), whitening, out=target)
        return Examples(features, examples.targets, examples.weights)

    def objective(self, examples: Examples, classes: int) -> Objective:
        """The loss over the parameters of features, which stay in proportion to one another."""
        featured = self.of(examples)
        scale = Standardisation.alike(featured.embeddings, featured.weights)
        return Objective.of(featured, classes, scale)

    def head(self, objective: Objective, parameters: Parameters) -> Head:
        """The head for raw embeddings."""
        layer = objective.layer(parameters)
        return Head((self.basis, Dense(self.whitening @ layer.kernel, layer.bias)))


@dataclass(frozen=True)
class Width:
    """A width that was tried: its path of strengths, and the best head of these."""

    gamma: float
    features: Features
    path: Sequence[Candidate]
    validated: Head

    @property
    def best(self) -> Candidate:
        """The strength that validates best."""
        return best_of(self.path)


def fit(
    data: LabelledEmbeddings,
    config: KernelConfig,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
    checkpoints: Checkpoints = NoCheckpoints(),
) -> Fit:
    """Chooses width and strength on validation, then fits training and validation images with them.

    Equal data, configuration and seed give equal weights. `report` is told after each strength how
    many are done or passed over; each is a checkpoint.
    """
    widths: list[Width] = []
    for features, gamma in _features(data, config, seed):
        told = after(len(widths) * len(config.l2), report)
        plan = Plan(config.l2, told, checkpoints, f"kernel-{config.centres}-{gamma!r}")
        widths.append(_try(features, gamma, data, plan))
    best = min(widths, key=lambda width: width.best.log_loss)

    def finish() -> Head:
        everything = best.features.objective(data.examples("train", "validation"), len(data.labels))
        start = best.best
        parameters = minimise(everything, start.l2, start.parameters, FINAL_TOLERANCE)
        return best.features.head(everything, parameters)

    return Fit(
        "kernel",
        validated=best.validated,
        finish=finish,
        chosen={
            "gamma": best.gamma,
            "centres": len(best.features.basis.centres),
            "l2": best.best.l2,
            "validation_log_loss": {str(width.gamma): losses(width.path) for width in widths},
        },
        curve=curve(best.path),
    )


def choose_centres(examples: Examples, count: int, seed: int) -> NDArray[np.int64]:
    """Positions of `count` images that weigh something (or all), each label in proportion.

    Images of several labels count as of the first of these.
    """
    eligible = np.flatnonzero(examples.weights > 0)
    targets = examples.targets[eligible]
    label = targets.argmax(axis=1) if targets.ndim == 2 else targets
    by_label = np.lexsort((np.random.default_rng(seed).random(len(eligible)), label))
    places = np.linspace(0, len(eligible) - 1, min(count, len(eligible)))
    return np.sort(eligible[by_label[places.round().astype(np.int64)]])


def _features(
    data: LabelledEmbeddings, config: KernelConfig, seed: int
) -> Iterator[tuple[Features, float]]:
    train = data.examples("train")
    scale = Standardisation.of(train.embeddings, train.weights)
    centres = train.embeddings[choose_centres(train, config.centres, seed)]
    for gamma in config.gamma:
        yield Features.around(centres, scale, gamma), gamma


def after(earlier: int, report: Callable[[int], None]) -> Callable[[int], None]:
    """What reports one part of a job's rounds, as those that follow `earlier` ones."""
    return lambda done: report(earlier + done)


def _try(features: Features, gamma: float, data: LabelledEmbeddings, plan: Plan) -> Width:
    objective = features.objective(data.examples("train"), len(data.labels))
    path = follow_path(objective, features.of(data.examples("validation")), plan)
    validated = features.head(objective, best_of(path).parameters)
    return Width(gamma, features, path, validated)
