"""From scores to what a model says of an image: one label, several, or `unknown`.

Plain numpy; `linnaeus.training.exporting.signatures` exports the same in TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from linnaeus.models import DEFAULT_THRESHOLD, Model
from linnaeus.records import UNKNOWN

Task = Literal["single", "multi"]
Scores = NDArray[np.floating]

TOP_K = 5


@dataclass(frozen=True)
class Decisions:
    """What a model says of n images."""

    label: list[str]
    """The best of `labels`, or `unknown` where there are none."""
    confidence: NDArray[np.float32]
    """[n], the score of `label`; the best score of all where it is `unknown`"""
    labels: list[list[str]]
    """All that reach their thresholds, best first: at most one where the task is `single`."""
    top_labels: list[list[str]]
    """The best min(5, C) labels whatever their scores, best first."""
    top_scores: NDArray[np.float32]
    """[n, min(5, C)]"""


@dataclass(frozen=True)
class DecisionRule:
    """Which labels an image has by its scores.

    `single`: the label of the highest score, if that is at least `thresholds["abstain_below"]`.
    `multi`: every label whose score is at least its own threshold, `thresholds[label]`.
    """

    labels: tuple[str, ...]
    task: Task = "single"
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model) -> "DecisionRule":
        """The rule of a published model."""
        return cls(model.labels, cast(Task, model.task), model.thresholds)

    @property
    def abstain_below(self) -> float:
        """The confidence below which a `single` model says `unknown`; 0 if it never does."""
        return self.thresholds.get("abstain_below", 0.0)

    @property
    def label_thresholds(self) -> NDArray[np.float32]:
        """The threshold of each label of a `multi` model, [C]."""
        thresholds = [self.thresholds.get(label, DEFAULT_THRESHOLD) for label in self.labels]
        return np.array(thresholds, np.float32)

    def chosen(self, scores: Scores) -> NDArray[np.bool_]:
        """Which labels each image has, [n, C], by scores [n, C]."""
        scores = scores.astype(np.float32)
        if self.task == "multi":
            above: NDArray[np.bool_] = scores >= self.label_thresholds
            return above
        best = np.arange(scores.shape[1]) == scores.argmax(axis=1, keepdims=True)
        sure: NDArray[np.bool_] = best & (scores >= np.float32(self.abstain_below))
        return sure

    def decide(self, scores: Scores) -> Decisions:
        """What is decided of images with scores [n, C]."""
        scores, chosen = scores.astype(np.float32), self.chosen(scores)
        names: NDArray[Any] = np.array(self.labels, object)
        # Scores are at least 0, so the chosen labels come first.
        order = best_first(np.where(chosen, scores, -1))
        labels = [names[row[:n]].tolist() for row, n in zip(order, chosen.sum(axis=1), strict=True)]
        top = best_first(scores)[:, :TOP_K]
        answer = np.where(chosen.any(axis=1), order[:, 0], top[:, 0])
        return Decisions(
            label=[some[0] if some else UNKNOWN for some in labels],
            confidence=np.take_along_axis(scores, answer[:, None], axis=1)[:, 0],
            labels=labels,
            top_labels=names[top].tolist(),
            top_scores=np.take_along_axis(scores, top, axis=1),
        )


def scores_of(logits: NDArray[np.floating], task: Task = "single") -> NDArray[np.float64]:
    """Probabilities [n, C] of logits [n, C]: by softmax, or each label's own by the sigmoid."""
    exact = logits.astype(np.float64)
    scores: NDArray[np.float64] = expit(exact) if task == "multi" else softmax(exact, axis=1)
    return scores


def best_first(scores: Scores) -> NDArray[np.intp]:
    """Positions [n, C] by falling score; of equal ones, the first label comes first."""
    return np.argsort(-scores, axis=1, kind="stable")
