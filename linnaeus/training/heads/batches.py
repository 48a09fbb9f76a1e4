"""Which training images each step reads: decided by the seed and the step's number alone.

So a training that was interrupted goes on with the batches that it would have had.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.training.config import Sampling

Rows = NDArray[np.int64]


class BatchOrder:
    """The rows of each batch of a training."""

    def __init__(
        self, targets: NDArray[Any], batch_size: int, sampling: Sampling, seed: int
    ) -> None:
        """Of images with `targets` [n] or [n, C], as `Examples` has them."""
        self.per_epoch = math.ceil(len(targets) / batch_size)
        self._targets = targets
        self._batch_size = batch_size
        self._sampling = sampling
        self._seed = seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def rows(self, step: int) -> Rows:
        """Positions of the images of a step, counted from 0; an epoch's last batch may be short."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._draw(epoch)
        return self._order[position * self._batch_size : (position + 1) * self._batch_size]

    def _draw(self, epoch: int) -> Rows:
        random = np.random.default_rng((self._seed, epoch))
        if self._sampling == "shuffled":
            return random.permutation(len(self._targets))
        return draw_balanced(self._targets, self.per_epoch * self._batch_size, random)


def draw_balanced(targets: NDArray[Any], count: int, random: np.random.Generator) -> Rows:
    """Draws a label uniformly among those that some image has, then one of its images; [count]."""
    images, labels = np.nonzero(targets) if targets.ndim == 2 else (None, targets)
    by_label = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[by_label], return_index=True, return_counts=True)
    label = random.integers(len(starts), size=count)
    members: Rows = by_label[starts[label] + random.integers(sizes[label])]
    return members if images is None else images[members]
