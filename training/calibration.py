"""Temperature scaling: one number that makes scores as confident as they are right.

Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, section 4.2.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from training.decisions import Task, scores_of
from training.evaluation import binary_log_loss, log_loss
from training.heads import log_softmax

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(
    logits: NDArray[np.float32],
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

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        if task == "multi":
            return binary_log_loss(scores_of(scaled, task), targets, weights)
        return log_loss(log_softmax(scaled), targets, weights)

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    return math.exp(found.x) if found.fun < loss(0.0) else 1.0
