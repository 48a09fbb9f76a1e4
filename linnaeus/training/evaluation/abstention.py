"""From which score on a label is given: thresholds fitted on validation images.

Scores are compared as float32, as the exported model does. A threshold lies midway to the next
lower score, so that rounding elsewhere changes no decision.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError, GateFailed
from linnaeus.models import DEFAULT_THRESHOLD
from linnaeus.records import UNKNOWN
from linnaeus.training.evaluation.ranking import last_of_equals

NEVER = 2.0
"""A threshold above every score."""


def fit_threshold(
    confidences: NDArray[np.floating],
    right: NDArray[np.bool_],
    weights: NDArray[np.floating],
    target_precision: float,
) -> float:
    """The lowest confidence from which on enough labels are right; below it, say `unknown`.

    Args:
        confidences: best scores of the validation images, [n].
        right: whether the best label is the true one, [n].
        weights: of the images, at least 0, [n].
        target_precision: the (weighted) share of labels to be right, among those given.

    Raises:
        GateFailed: If no threshold reaches that: the model would say `unknown` for everything.
    """
    candidates = _Candidates(confidences, right, weights)
    threshold = candidates.lowest_reaching(target_precision)
    if threshold is None:
        best = candidates.precision.max(initial=0.0)
        raise GateFailed(
            f"no confidence gives the precision of {target_precision:g} asked for on the "
            f"{len(confidences)} validation images, the best is {best:.3f}: ask for less, or add "
            "validation images; nothing was published"
        )
    return threshold


def fit_label_thresholds(
    scores: NDArray[np.floating],
    targets: NDArray[Any],
    weights: NDArray[np.floating],
    target_precision: float | None = None,
) -> NDArray[np.float64]:
    """Thresholds [C] from which on each label is given, chosen on validation images.

    By default that of the best F1; of a label that none of the images has, 0.5. With a target
    precision the lowest that reaches it; `NEVER` for a label that does not reach it.

    Args:
        scores: [n, C].
        targets: 1 where a label is true, [n, C].
        weights: of the images, at least 0, [n].
        target_precision: the (weighted) share of images for which a label is right, among those
            for which it is given.
    """
    columns = (_Candidates(s, t, weights) for s, t in zip(scores.T, targets.T, strict=True))
    if target_precision is None:
        return np.array([one.best_f1() for one in columns])
    reached = (one.lowest_reaching(target_precision) for one in columns)
    return np.array([NEVER if one is None else one for one in reached])


def refuse_unknown(labels: Sequence[str]) -> None:
    """Refuses a label that is also what a model says when it is not sure of any.

    Raises:
        ConfigurationError: If there is one.
    """
    if UNKNOWN in labels:
        raise ConfigurationError(
            f"a label is called {UNKNOWN!r}, which is what this model says when it is not sure of "
            "any: rename that label, or train without a target precision and with one label an "
            "image"
        )


class _Candidates:
    """The thresholds that there are between n scores, from the highest down, and their effect."""

    def __init__(
        self,
        scores: NDArray[np.floating],
        true: NDArray[Any],
        weights: NDArray[np.floating],
    ) -> None:
        order = np.argsort(-scores.astype(np.float32), kind="stable")
        ordered = scores[order].astype(np.float32)
        ends = last_of_equals(ordered)
        given = weights[order].astype(np.float64)
        self._hits = np.cumsum(given * true[order].astype(bool))[ends]
        self._given = np.cumsum(given)[ends]
        self._all_true = self._hits[-1] if len(ends) else 0.0
        self.thresholds = _midway(ordered[ends])
        self.precision = self._hits / np.maximum(self._given, np.finfo(np.float64).tiny)

    def lowest_reaching(self, precision: float) -> float | None:
        reached = np.flatnonzero(self.precision >= precision)
        return float(self.thresholds[reached[-1]]) if len(reached) else None

    def best_f1(self) -> float:
        """The highest of the thresholds whose F1 is best."""
        if not self._all_true:
            return DEFAULT_THRESHOLD
        f1 = 2 * self._hits / (self._given + self._all_true)
        return float(self.thresholds[f1.argmax()])


def _midway(falling: NDArray[np.float32]) -> NDArray[np.float32]:
    """Between each value and the next lower one, 0 being the last; never as low as that."""
    lower = np.append(falling[1:], np.float32(0))
    middle = (falling + lower) / 2
    return np.where(middle > lower, middle, falling)
