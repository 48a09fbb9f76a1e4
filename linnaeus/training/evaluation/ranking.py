"""How far up the right answers stand when scores are sorted."""

import numpy as np
from numpy.typing import NDArray


def top_k_accuracy(scores: NDArray[np.floating], label_ids: NDArray[np.integer], k: int) -> float:
    """Share of images whose true label is among the k best scores, as a model sorts equal ones.

    Args:
        scores: [n, C].
        label_ids: positions of the true labels, [n].
        k: at least 1.
    """
    of_truth = np.take_along_axis(scores, label_ids[:, None], axis=1)
    before = np.arange(scores.shape[1]) < label_ids[:, None]
    ahead = (scores > of_truth) | ((scores == of_truth) & before)
    return float((ahead.sum(axis=1) < k).mean())


def average_precision(scores: NDArray[np.floating], true: NDArray[np.bool_]) -> float:
    """Mean of the precisions at each threshold, weighing by the recall that it adds.

    Images of equal score are taken together. 0 where nothing is true.

    Args:
        scores: of one label, [n].
        true: whether an image has it, [n].
    """
    if not true.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    hits, ends = np.cumsum(true[order]), last_of_equals(scores[order])
    precision, recall = hits[ends] / (ends + 1), hits[ends] / hits[-1]
    return float(np.diff(recall, prepend=0.0) @ precision)


def last_of_equals(ordered: NDArray[np.floating]) -> NDArray[np.intp]:
    """Positions at which runs of equal values of a sorted array [n] end."""
    return np.flatnonzero(np.diff(ordered, append=np.nan) != 0)
