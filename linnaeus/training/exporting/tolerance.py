"""How far the logarithms of two machines' scores of one golden image may be from each other.

The skew gate allows what follows from the head at hand, not a constant: a head that tells labels
apart by small differences makes more of what engines differ in than a plain one.
"""

import numpy as np
from numpy.typing import NDArray

from linnaeus.models import MOST_RELATIVE, logarithms
from linnaeus.training.evaluation.decisions import Task, scores_of
from linnaeus.training.heads.head import Dense, Exact, Head, Layer

UNIT = float(np.finfo(np.float64).eps) / 2
OF_SCORES = 4 * float(np.finfo(np.float32).eps)
"""Scores of both sides are float32, and come of exponential functions."""
STEEPEST = 1.13
"""No activation has a steeper slope."""
DRAWS = 64


def rounding(head: Head, embeddings: NDArray[np.float32]) -> Exact:
    """Bound for equal embeddings, [n]: of float64's sums in any order, and of float32 scores.

    A sum of n products is off by at most n u times the sum of their sizes (Higham, Accuracy and
    Stability of Numerical Algorithms, 2002, 3.1), and errors of a layer's inputs pass through the
    sizes of its weights. A logarithm of softmax moves at most twice as far as a logit.
    """
    x = embeddings.astype(np.float64)
    error = np.zeros_like(x)
    for layer in head.layers:
        error, x = _after(layer, x, error), layer.apply(x)
    return np.asarray(OF_SCORES + 2 * error.max(axis=1))


def _after(layer: Layer, x: Exact, error: Exact) -> Exact:
    if isinstance(layer, Dense):
        weights = np.abs(layer.kernel)
        sums = np.abs(x) @ weights + np.abs(layer.bias)
        return np.asarray(STEEPEST * (error @ weights + (len(weights) + 2) * UNIT * sums))
    sizes = np.linalg.norm((x - layer.mean) * layer.scale, axis=1, keepdims=True)
    squares = (sizes + np.linalg.norm(layer.centres.astype(np.float64), axis=1)) ** 2
    steps = layer.gamma * (len(layer.mean) + 4) * squares
    return np.asarray(UNIT * (1 + layer.apply(x) * steps))


def sensitivity(head: Head, embeddings: NDArray[np.float32], task: Task) -> Exact:
    """Root mean square change [n, C] where each value differs by all that engines may.

    By finite differences along random signs, whose mean square is that of the gradient
    (Kenney and Laub, Small-Sample Statistical Condition Estimates, 1994).
    """
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (DRAWS, embeddings.shape[1]))
    changes = []
    for embedding in embeddings.astype(np.float64):
        moved = embedding + MOST_RELATIVE * np.abs(embedding).max() * signs
        logs = logarithms(scores_of(head.logits(np.vstack([embedding, moved])), task))
        changes.append(np.sqrt(np.mean((logs[1:] - logs[0]) ** 2, axis=0)))
    return np.stack(changes)
