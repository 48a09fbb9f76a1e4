"""Counts of what is and what is predicted, and the measures that they give."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(
    true: NDArray[Any], predicted: NDArray[Any], classes: int
) -> NDArray[np.int64]:
    """Counts [C, C] of class numbers [n]: row the true one, column the predicted one."""
    pairs = true.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def precision_recall_f1(
    hits: NDArray[Any], predicted: NDArray[Any], support: NDArray[Any]
) -> NDArray[np.float64]:
    """The three measures of C classes, [3, C]; 0 where there is nothing to divide by.

    Args:
        hits: images that have the class and for which it is predicted, [C].
        predicted: images for which it is predicted, [C].
        support: images that have it, [C].
    """
    return np.stack(
        [_ratio(hits, predicted), _ratio(hits, support), _ratio(2 * hits, predicted + support)]
    )


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    ratios = np.zeros(len(numerator), np.float64)
    np.divide(numerator, denominator, out=ratios, where=denominator > 0)
    return ratios
