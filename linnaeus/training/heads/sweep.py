"""Tries heads of several kinds on the same embeddings and keeps the best on validation.

The best is the simplest whose validation loss is no more than a standard error above the lowest
(Breiman, Friedman, Olshen, Stone 1984, 3.4.3): a few images that a head happens to get right say
little, and a kernel head that wins by them labels all that is far from them alike, and surely.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.progress import SILENT, Figures, Progress, settings_text
from linnaeus.training.checkpoints import Checkpoints, NoCheckpoints
from linnaeus.training.config import (
    KernelConfig,
    LayersConfig,
    LinearConfig,
    Optimizer,
    TrainConfig,
)
from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.data.refusals import refuse_not_finite
from linnaeus.training.evaluation.calibration import fit_temperature
from linnaeus.training.heads import kernel, linear
from linnaeus.training.heads.head import Fit, Head, Vector, with_temperature
from linnaeus.training.heads.loss import each_loss, evaluate
from linnaeus.training.heads.weighting import weighed
from linnaeus.training.monitoring import Monitoring

Candidate = LinearConfig | KernelConfig | LayersConfig
Losses = NDArray[np.float64]
Group = Sequence[Candidate]
"""Candidates that are fitted side by side: one convex head, or some heads of layers."""

FEW_HIDDEN = (((256,), 0.3), ((512,), 0.5))
"""Hidden layers and dropout."""
MANY_HIDDEN = ((), (128,), (256,), (512,), (1024,), (512, 128))
MANY_DROPOUTS = (0.2, 0.5)
MANY_OPTIMIZERS: tuple[tuple[Optimizer, float], ...] = (("adam", 1e-3), ("adamw", 3e-4))
MANY_GAMMAS = (0.03, 0.1, 0.3, 1.0, 3.0)

ROUNDING = 1e-6

MANY_IMAGES = 20_000
"""From here on, heads of layers are compared by fewer epochs of larger batches."""
LARGE_BATCH = 256
IMAGES_A_HEAD = 640_000
"""Over all epochs, roughly."""
FEWEST_EPOCHS = 3
SHORT_PATIENCE = 2


@dataclass(frozen=True)
class Tried:
    """One head of a sweep, and how it does on validation at its best temperature."""

    kind: str
    settings: Mapping[str, Any]
    validation_log_loss: float
    validation_accuracy: float
    seconds: float
    """Its share of the time, where heads were fitted side by side."""


@dataclass(frozen=True)
class Sweep:
    """The best head, and all that were tried."""

    best: Fit
    tried: tuple[Tried, ...]


def run(
    data: LabelledEmbeddings,
    config: TrainConfig,
    checkpoints: Checkpoints = NoCheckpoints(),
    monitoring: Monitoring = Monitoring(),
    progress: Progress = SILENT,
) -> Sweep:
    """Fits the candidates and compares their weighted log losses on validation.

    They are compared at their best temperatures, so none loses for being too sure of itself alone.

    Raises:
        ConfigurationError: If an embedding is not finite, or images with several labels are to be
            balanced.
    """
    refuse_not_finite(data)
    trial = Trial(weighed(data, config.class_weights), config.seed, checkpoints, monitoring)
    groups = side_by_side(adapted(candidates(config), data.counts["train"]))
    with progress.step("Train", sum(map(rounds, groups)), "rounds at most") as step:
        # A strength takes many times as long as an epoch, and many epochs are passed over: how
        # long the first rounds took says nothing of the others.
        fits = list(trial.fits(groups, lambda done: step.update(done, figures=Figures())))
        evaluated = [trial.evaluated(fit, seconds) for fit, seconds in fits]
        weights = trial.data.examples("validation").weights
        best = simplest([losses for _, losses in evaluated], weights)
        tried = tuple(one for one, _ in evaluated)
        step.note(_note(tried, best))
    return Sweep(fits[best][0], tried)


def simplest(losses: Sequence[Losses], weights: Vector) -> int:
    """The first head whose mean loss is within a standard error of the lowest.

    Args:
        losses: of each head, the simplest first, on the same images, [n] each; those of a head
            that gives no numbers are never chosen, unless all are so.
        weights: of the images, at least 0, [n].
    """
    means = [_sortable(float(np.average(one, weights=weights))) for one in losses]
    lowest = means.index(min(means))
    for number, one in enumerate(losses):
        if math.isfinite(means[number]) and _alike(one - losses[lowest], weights):
            return number
    return lowest


def _alike(differences: Losses, weights: Vector) -> bool:
    """Whether paired differences, [n], are no larger in the mean than their standard error.

    A difference in one image alone is just as large.
    """
    share = weights / weights.sum(dtype=np.float64)
    mean = float(share @ differences)
    spread = float(share**2 @ (differences - mean) ** 2)
    others = max(1 - float(share @ share), np.finfo(np.float64).tiny)
    return mean <= (1 + ROUNDING) * math.sqrt(spread / others)


def candidates(config: TrainConfig) -> list[Candidate]:
    """The heads that a configuration asks for, the simplest first."""
    match config.head:
        case "linear":
            return [config.linear]
        case "kernel":
            return [config.kernel]
        case "layers":
            return [config.layers]
    own = [config.layers] if config.layers != LayersConfig() else []
    return [config.linear, *(_many if config.sweep else _few)(config), *own]


def _few(config: TrainConfig) -> list[Candidate]:
    return [
        config.kernel,
        *(replace(config.layers, hidden=hidden, dropout=share) for hidden, share in FEW_HIDDEN),
    ]


def _many(config: TrainConfig) -> list[Candidate]:
    centres = config.kernel.centres
    gammas = tuple(sorted({*config.kernel.gamma, *MANY_GAMMAS}))
    kernels = [replace(config.kernel, centres=m, gamma=gammas) for m in (centres, 2 * centres)]
    layers = [
        replace(config.layers, hidden=hidden, dropout=share, optimizer=name, learning_rate=rate)
        for hidden, share, (name, rate) in product(MANY_HIDDEN, MANY_DROPOUTS, MANY_OPTIMIZERS)
    ]
    return [*kernels, *layers]


def adapted(candidates: Sequence[Candidate], images: int) -> list[Candidate]:
    """The candidates with shorter trainings where there are many images; one alone stays."""
    if len(candidates) == 1 or images < MANY_IMAGES:
        return list(candidates)
    return [shortened(one, images) if isinstance(one, LayersConfig) else one for one in candidates]


def shortened(config: LayersConfig, images: int) -> LayersConfig:
    """A training that costs seconds on `images`, in larger batches with as much larger steps."""
    epochs = max(FEWEST_EPOCHS, IMAGES_A_HEAD // images)
    batch_size = max(config.batch_size, LARGE_BATCH)
    return replace(
        config,
        epochs=min(config.epochs, epochs),
        patience=min(config.patience, SHORT_PATIENCE),
        batch_size=batch_size,
        learning_rate=config.learning_rate * math.sqrt(batch_size / config.batch_size),
    )


def side_by_side(candidates: Sequence[Candidate]) -> list[Group]:
    """Heads of layers together, since they share their batches; all others alone."""
    layers = [one for one in candidates if isinstance(one, LayersConfig)]
    alone: list[Group] = [[one] for one in candidates if not isinstance(one, LayersConfig)]
    return [*alone, layers] if layers else alone


def rounds(group: Group) -> int:
    """What a group reports at most: strengths, or epochs (or steps) of all heads together."""
    return sum(map(_rounds, group))


def _rounds(candidate: Candidate) -> int:
    match candidate:
        case LinearConfig():
            return len(candidate.l2)
        case KernelConfig():
            return len(candidate.gamma) * len(candidate.l2)
        case LayersConfig():
            return candidate.steps or candidate.epochs


@dataclass(frozen=True)
class Trial:
    """What all candidates are fitted with."""

    data: LabelledEmbeddings
    seed: int
    checkpoints: Checkpoints
    monitoring: Monitoring

    def fits(
        self, groups: Sequence[Group], report: Callable[[int], None]
    ) -> Iterator[tuple[Fit, float]]:
        """Each candidate fitted, and its share of the seconds; `report` is told of rounds done."""
        earlier = 0
        for group in groups:
            began = time.perf_counter()
            fits = self._fit(group, kernel.after(earlier, report))
            seconds = (time.perf_counter() - began) / len(group)
            earlier += rounds(group)
            report(earlier)
            yield from ((fit, seconds) for fit in fits)

    def evaluated(self, fit: Fit, seconds: float) -> tuple[Tried, Losses]:
        """What is reported of a fitted candidate, and its loss on each validation image, [n]."""
        settings = {n: v for n, v in fit.chosen.items() if n != "validation_log_loss"}
        examples, head = self.data.examples("validation"), self._calibrated(fit)
        score = evaluate(head, examples)
        tried = Tried(fit.kind, settings, score.log_loss, score.accuracy, seconds)
        return tried, each_loss(head, examples)

    def _fit(self, group: Group, report: Callable[[int], None]) -> list[Fit]:
        match group[0]:
            case LinearConfig() as config:
                return [linear.fit(self.data, config, report, self.checkpoints)]
            case KernelConfig() as config:
                return [kernel.fit(self.data, config, self.seed, report, self.checkpoints)]
        from linnaeus.training.heads import layers  # imports TensorFlow

        return layers.fit_many(
            self.data,
            [one for one in group if isinstance(one, LayersConfig)],
            self.seed,
            report,
            self.checkpoints,
            self.monitoring,
        )

    def _calibrated(self, fit: Fit) -> Head:
        examples = self.data.examples("validation")
        logits = fit.validated.logits_by_block(examples.embeddings)
        weights, task = examples.weights, self.data.task
        temperature = fit_temperature(logits, examples.targets, weights, task)
        return with_temperature(fit.validated, temperature)


def _sortable(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss


def _note(tried: Sequence[Tried], best: int) -> str:
    winner = tried[best]
    of = f"best of {len(tried)} heads: " if len(tried) > 1 else ""
    given = {name: value for name, value in winner.settings.items() if value != ()}
    settings = settings_text(dict(list(given.items())[:3]))
    return f"{of}{winner.kind} ({settings}), {winner.validation_accuracy:.1%} right on validation"
