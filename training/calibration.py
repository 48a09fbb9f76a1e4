"""Temperature scaling: one number that makes scores as confident as they are right.

Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, section 4.2.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from training.evaluation import log_loss
from training.heads import log_softmax

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(
    logits: NDArray[np.float32], label_ids: NDArray[np.int64], weights: NDArray[np.float32]
) -> float:
    """The temperature by which `logits` [n, C] are to be divided for the lowest log loss.

    1 where no temperature betters the log loss, so calibration never makes it worse here.
    """

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / math.exp(log_temperature))
        return log_loss(scaled, label_ids, weights)

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    return math.exp(found.x) if found.fun < loss(0.0) else 1.0
