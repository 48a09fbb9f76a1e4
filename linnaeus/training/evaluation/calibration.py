"""Temperature scaling: one number that makes scores as confident as they are right.

Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, section 4.2. Few
images that are all right would make any score certain, so of n images a share 1 / (n + 2) of each
truth is taken for false, as in Platt (1999), Probabilistic Outputs for Support Vector Machines.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from linnaeus.training.evaluation.decisions import Task, scores_of
from linnaeus.training.evaluation.metrics import binary_log_loss, log_loss
from linnaeus.training.heads.head import Vector, log_softmax

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(
    logits: NDArray[np.floating],
    targets: NDArray[Any],
    weights: NDArray[np.float32],
    task: Task = "single",
) -> float:
    """The temperature by which `logits` [n, C] are to be divided for the lowest log loss.

    1 where no temperature betters the log loss, so calibration never makes it worse here.

    Args:
        logits: of softmax or, if the task is multi, of each label's own sigmoid.
        targets: label ids [n]; multi: 1 where a label is true, [n, C].
        weights: of the images, [n].
        task: single or multi.
    """
    loss_of = _binary_loss if task == "multi" else _loss

    def loss(log_temperature: float) -> float:
        return loss_of(logits / math.exp(log_temperature), targets, weights)

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    result = minimize_scalar(loss, bounds=bounds, method="bounded")
    return math.exp(result.x) if result.fun < loss(0.0) else 1.0


def _loss(logits: NDArray[np.floating], label_ids: NDArray[Any], weights: Vector) -> float:
    """Log loss where the truth is right but for a share, which is spread over the other labels."""
    log_scores, doubt = log_softmax(logits), _doubt(weights)
    right = log_loss(log_scores, label_ids, weights)
    all_labels = -float(np.average(log_scores.sum(axis=1), weights=weights))
    wrong = (all_labels - right) / max(logits.shape[1] - 1, 1)
    return float((1 - doubt) * right + doubt * wrong)


def _binary_loss(logits: NDArray[np.floating], targets: NDArray[Any], weights: Vector) -> float:
    scores, doubt = scores_of(logits, "multi"), _doubt(weights)
    right = binary_log_loss(scores, targets, weights)
    return (1 - doubt) * right + doubt * binary_log_loss(scores, 1 - targets, weights)


def _doubt(weights: Vector) -> float:
    return 1 / (np.count_nonzero(weights) + 2)
