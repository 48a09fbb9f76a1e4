"""How good scores are: accuracy with its interval, each class, confusion, log loss. Pure numpy."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.heads import log_softmax

Z_95 = 1.959963984540054
"""The standard normal's 97.5 % quantile."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class against all others; a measure with nothing to divide by is 0."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """What a classifier did on images whose labels are known."""

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """Wilson's 95 % interval."""
    log_loss: float
    """Mean negative log-likelihood of the true labels, in nats."""
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows are true labels, columns the predicted ones, both in label order."""

    def to_dict(self) -> dict[str, Any]:
        """As `linnaeus.json` and `linnaeus evaluate --json` have it."""
        return {
            "images": self.images,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "log_loss": self.log_loss,
            "classes": {
                c.label: {
                    "precision": c.precision,
                    "recall": c.recall,
                    "f1": c.f1,
                    "support": c.support,
                }
                for c in self.classes
            },
            "confusion": [list(row) for row in self.confusion],
        }


def evaluate_scores(
    log_scores: NDArray[np.floating], label_ids: NDArray[np.integer], labels: tuple[str, ...]
) -> Evaluation:
    """Evaluates log-probabilities [n, C] against true label ids [n], every image counting once."""
    confusion = confusion_matrix(label_ids, log_scores.argmax(axis=1), len(labels))
    images, hits = len(label_ids), int(np.trace(confusion))
    return Evaluation(
        images=images,
        accuracy=hits / images,
        accuracy_interval=wilson_interval(hits, images),
        log_loss=log_loss(log_scores, label_ids),
        classes=class_metrics(confusion, labels),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def evaluate_logits(
    logits: NDArray[np.float32], label_ids: NDArray[np.integer], labels: tuple[str, ...]
) -> Evaluation:
    """The same from logits [n, C]."""
    return evaluate_scores(log_softmax(logits), label_ids, labels)


def wilson_interval(hits: int, images: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), within [0, 1]."""
    share = hits / images
    denominator = 1 + z * z / images
    centre = (share + z * z / (2 * images)) / denominator
    half = z / denominator * math.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2)
    return max(0.0, centre - half), min(1.0, centre + half)


def confusion_matrix(
    true: NDArray[np.integer], predicted: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Counts [C, C]: row the true label, column the predicted one."""
    pairs = true.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_metrics(
    confusion: NDArray[np.int64], labels: tuple[str, ...]
) -> tuple[ClassMetrics, ...]:
    """Precision, recall and F1 of each class, from the confusion matrix."""
    hits = np.diag(confusion)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    f1 = _ratio(2 * hits, predicted + support)
    return tuple(
        ClassMetrics(label, float(p), float(r), float(f), int(s))
        for label, p, r, f, s in zip(labels, precision, recall, f1, support, strict=True)
    )


def log_loss(
    log_scores: NDArray[np.floating],
    label_ids: NDArray[np.integer],
    weights: NDArray[np.floating] | None = None,
) -> float:
    """(Weighted) mean of `-log_scores[i, label_ids[i]]`, in nats.

    A score of exactly 0 counts as the smallest positive float64, so that the result is finite.
    """
    of_truth = np.maximum(
        log_scores[np.arange(len(label_ids)), label_ids], math.log(np.finfo(np.float64).tiny)
    )
    mean = float(-np.average(of_truth.astype(np.float64), weights=weights))
    return mean + 0.0  # never -0.0


def _ratio(numerator: NDArray, denominator: NDArray) -> NDArray[np.float64]:
    ratios = np.zeros(len(numerator), np.float64)
    np.divide(numerator, denominator, out=ratios, where=denominator > 0)
    return ratios
