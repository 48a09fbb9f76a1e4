"""What heads are fitted to lessen: cross-entropy, of one label an image or of several.

single: `-log softmax(logits)[label]`; multi: each label's own `-log sigmoid(+-logit)`, summed over
the labels (Bishop, Pattern Recognition and Machine Learning, 4.3.2 and 4.3.4). Targets are as in
`Examples`, so their dimensions say which.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.training.data.examples import Examples
from linnaeus.training.heads.head import Head, Vector, read_blocks

Logits = NDArray[np.floating]
"""[n, C]: float32 while a head is fitted, float64 of a head."""


@dataclass(frozen=True)
class Loss:
    """Sums over some images."""

    loss: float
    """Of weight times cross-entropy."""
    right: int
    """Images whose best label, or whose labels one and all, are right; each counts once."""

    def __add__(self, other: "Loss") -> "Loss":
        return Loss(self.loss + other.loss, self.right + other.right)


@dataclass(frozen=True)
class Score:
    """How a head does on some images."""

    log_loss: float
    """Weighted mean, in nats; multi: also over the labels."""
    accuracy: float

    @classmethod
    def of(cls, total: Loss, examples: Examples) -> "Score":
        """From sums over all of the examples."""
        labels = examples.targets.shape[1] if examples.targets.ndim == 2 else 1
        weight = float(examples.weights.sum(dtype=np.float64))
        return cls(total.loss / weight / labels, total.right / len(examples))


def evaluate(head: Head, examples: Examples) -> Score:
    """How a head does on examples, which may be larger than memory."""
    total = Loss(0.0, 0)
    for rows, block in read_blocks(examples.embeddings):
        loss, _ = loss_and_residual(
            head.logits(block), examples.targets[rows], examples.weights[rows]
        )
        total += loss
    return Score.of(total, examples)


def each_loss(head: Head, examples: Examples) -> NDArray[np.float64]:
    """Cross-entropy of each example, [n], in nats, weights apart; multi: mean over the labels."""
    blocks = [
        _each(head.logits(block), examples.targets[rows])
        for rows, block in read_blocks(examples.embeddings)
    ]
    return np.concatenate(blocks)


def _each(logits: NDArray[np.float64], targets: NDArray[Any]) -> NDArray[np.float64]:
    if targets.ndim == 2:
        several: NDArray[np.float64] = np.logaddexp(0, np.where(targets, -logits, logits))
        return np.asarray(several.mean(axis=1))
    of_truth = logits[np.arange(len(logits)), targets]
    one: NDArray[np.float64] = np.logaddexp.reduce(logits, axis=1) - of_truth
    return one


def loss_and_residual(
    logits: Logits, targets: NDArray[Any], weights: Vector
) -> tuple[Loss, Logits]:
    """Of a block: its loss, and weight * (probability - target) [n, C], in place of the logits."""
    if targets.ndim == 2:
        return _of_several(logits, targets, weights)
    return _of_one(logits, targets, weights)


def _of_one(logits: Logits, label_ids: NDArray[np.int64], weights: Vector) -> tuple[Loss, Logits]:
    every = np.arange(len(logits))
    logits -= logits.max(axis=1, keepdims=True)
    of_truth = logits[every, label_ids]
    probabilities = np.exp(logits, out=logits)
    sums = probabilities.sum(axis=1)
    loss = float(weights.astype(np.float64) @ (np.log(sums) - of_truth))
    probabilities *= (weights / sums)[:, None]
    probabilities[every, label_ids] -= weights
    return Loss(loss, int((of_truth == 0).sum())), probabilities


def _of_several(logits: Logits, truth: NDArray[np.uint8], weights: Vector) -> tuple[Loss, Logits]:
    right = int(((logits >= 0) == truth).all(axis=1).sum())
    tail = np.exp(-np.abs(logits))
    losses = np.maximum(logits, 0) - logits * truth + np.log1p(tail)
    probabilities = np.where(logits >= 0, 1, tail) / (1 + tail)
    residual: Logits = (probabilities - truth) * weights[:, None]
    return Loss(float(weights.astype(np.float64) @ losses.sum(axis=1)), right), residual
