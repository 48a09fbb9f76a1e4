"""What heads of layers learn from and are validated by: standardised embeddings, in batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
import tensorflow as tf

from linnaeus.tables import release
from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.heads.batches import Rows
from linnaeus.training.heads.head import Matrix, Standardisation, blocks
from linnaeus.training.heads.learner import Task

Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Standardised embeddings [n, D], targets [n] or [n, C], weights [n]."""


@dataclass(frozen=True)
class TrainingBatches:
    """The images that heads learn from, and those that validate them."""

    train: Examples
    validation: Examples
    scale: Standardisation
    classes: int
    task: Task

    @classmethod
    def of(cls, data: LabelledEmbeddings) -> "TrainingBatches":
        """Standardises by the training images, and makes their weights 1 in the mean."""
        train = data.examples("train")
        scale = Standardisation.of(train.embeddings, train.weights)
        train = replace(train, weights=train.weights / train.weights.mean())
        return cls(train, data.examples("validation"), scale, len(data.labels), data.task)

    def batch(self, rows: Rows) -> Batch:
        """Some training images."""
        return self._batch(self.train, rows)

    def validation_blocks(self) -> Iterator[Batch]:
        """All validation images, some thousand at a time."""
        for rows in blocks(len(self.validation)):
            yield self._batch(self.validation, rows)

    @cached_property
    def validation_sample(self) -> Matrix:
        """Standardised validation images, some thousand at most."""
        sample: Matrix = next(self.validation_blocks())[0].numpy()
        return sample

    def digest(self) -> str:
        """Changes with what is learnt."""
        train = self.train
        known = sha256(f"{train.embeddings.shape} {self.task} {self.classes}".encode())
        for values in (train.targets, train.weights, self.scale.mean, self.scale.deviation):
            known.update(np.ascontiguousarray(values).tobytes())
        return known.hexdigest()

    def _batch(self, examples: Examples, rows: Rows | slice) -> Batch:
        inputs = self._standardise(examples.embeddings[rows])
        release(examples.embeddings)  # rows drawn at random would leave all of it in memory
        return inputs, examples.targets[rows], examples.weights[rows]

    @cached_property
    def _standardise(self) -> Callable[[Matrix], tf.Tensor]:
        mean = tf.constant(self.scale.mean, tf.float32)
        factor = tf.constant(1 / self.scale.deviation, tf.float32)
        signature = [tf.TensorSpec([None, len(self.scale.mean)], tf.float32)]
        standardise: Callable[[Matrix], tf.Tensor] = tf.function(
            lambda rows: (rows - mean) * factor, input_signature=signature
        )
        return standardise
