"""Whether scores are as high as they are often right: the reliability diagram and its error.

Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, section 2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Scores in one of the intervals of equal width, (0, 1/15] the first; zeros if there are none.

    A score of exactly 0 belongs to the first.
    """

    count: int
    confidence: float
    """Mean score."""
    accuracy: float
    """Share that is right."""


@dataclass(frozen=True)
class Reliability:
    """The diagram's bins, and the expected calibration error that they add up to."""

    error: float
    """Mean distance of confidence and accuracy, each bin weighing by its count."""
    bins: tuple[Bin, ...]


def reliability(confidences: NDArray[np.floating], right: NDArray[np.bool_]) -> Reliability:
    """Compares confidences [n], in [0, 1], with whether each was right, [n]."""
    edges = np.linspace(0, 1, BINS + 1)
    numbers = np.clip(np.digitize(confidences, edges, right=True) - 1, 0, BINS - 1)
    counts = np.bincount(numbers, minlength=BINS)
    confidence = np.bincount(numbers, confidences, BINS) / np.maximum(counts, 1)
    accuracy = np.bincount(numbers, right, BINS) / np.maximum(counts, 1)
    distance = np.abs(confidence - accuracy)
    return Reliability(
        error=float(counts @ distance / max(len(confidences), 1)),
        bins=tuple(
            Bin(int(n), float(c), float(a))
            for n, c, a in zip(counts, confidence, accuracy, strict=True)
        ),
    )
