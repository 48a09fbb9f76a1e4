"""The network that is fine-tuned: a backbone's trainable part under new layers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from linnaeus.backbones import Trainable
from linnaeus.training.config import FineTuningConfig
from linnaeus.training.heads.head import Dense, Head


class Tunable:
    """A backbone, a dense ReLU layer if there is one, dropout, and the last layer.

    The new layers compute in float32, whatever the backbone does.
    """

    def __init__(self, trunk: Trainable, layers: Sequence[Dense], dropout: float) -> None:
        self.trunk = trunk
        self._dropout = dropout
        self._above = [(_variable(layer.kernel), _variable(layer.bias)) for layer in layers]

    def logits(self, x: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Class logits [n, C] of what the trunk's trained part takes.

        `seed`, int32 [2], says that it is being trained, and decides what is dropped.
        """
        embedding = self.embedding(x, training=seed is not None)
        if seed is not None and self._dropout:
            embedding = tf.nn.experimental.stateless_dropout(embedding, self._dropout, seed)
        kernel, bias = self._above[-1]
        return tf.matmul(embedding, kernel) + bias

    def embedding(self, x: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        """Embeddings [n, D] of what the trunk's trained part takes."""
        return self.hidden(self.trunk.trained(x, training))

    def hidden(self, values: tf.Tensor) -> tf.Tensor:
        """Embeddings [n, D] of the trunk's values."""
        for kernel, bias in self._above[:-1]:
            values = tf.nn.relu(tf.matmul(values, kernel) + bias)
        return values

    def penalty(self, l2: float) -> tf.Tensor:
        """What is added to the loss: of the new layers' weights, and what the trunk brings."""
        squares = [l2 * tf.reduce_sum(tf.square(kernel)) for kernel, _ in self._above if l2]
        return tf.add_n([tf.constant(0.0), *squares, *(of() for of in self.trunk.penalties)])

    @property
    def hidden_variables(self) -> list[tf.Variable]:
        """Of the layers between the trunk and the last one."""
        return [variable for layer in self._above[:-1] for variable in layer]

    @property
    def learned(self) -> list[tf.Variable]:
        """What gradients change."""
        return [*self.trunk.learned, *self._new]

    @property
    def changed(self) -> list[tf.Variable]:
        """What training changes."""
        return [*self.trunk.changed, *self._new]

    def assign(self, values: Sequence[NDArray[Any]]) -> None:
        """Takes over what training changed, in the order of `changed`."""
        for variable, value in zip(self.changed, values, strict=True):
            variable.assign(value)

    @property
    def _new(self) -> list[tf.Variable]:
        return [variable for layer in self._above for variable in layer]

    def head(self) -> Head:
        """The last layer as it is now, on embeddings."""
        kernel, bias = self._above[-1]
        return Head((Dense(kernel.numpy(), bias.numpy()),))


def new_layers(
    values: int, classes: int, config: FineTuningConfig, seed: int, start: Dense | None = None
) -> list[Dense]:
    """The layers above a trunk of so many values as they begin; the last as `start` where given.

    Uniform random weights as by Glorot and Bengio (2010), decided by the seed; biases of 0.
    """
    random = np.random.default_rng(seed)
    if config.hidden is None:
        return [start or _glorot(values, classes, random)]
    return [_glorot(values, config.hidden, random), _glorot(config.hidden, classes, random)]


def _glorot(inputs: int, outputs: int, random: np.random.Generator) -> Dense:
    limit = math.sqrt(6 / (inputs + outputs))
    kernel = random.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)
    return Dense(kernel, np.zeros(outputs, np.float32))


def _variable(values: NDArray[np.floating]) -> tf.Variable:
    return tf.Variable(tf.constant(values, tf.float32))
