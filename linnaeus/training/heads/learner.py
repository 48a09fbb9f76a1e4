"""One head of Keras layers while it learns: network, optimiser, curve and best weights."""

import math
from collections.abc import Mapping
from dataclasses import asdict, astuple
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError
from linnaeus.training.config import LayersConfig
from linnaeus.training.heads.head import CurvePoint, Dense, Fit, Head, Standardisation
from linnaeus.training.heads.schedules import optimizer

Task = Literal["single", "multi"]
Totals = NDArray[np.float64]
"""[3]: weighted loss, weighted hits and weights of some images, each summed."""


class Learner:
    """A head that is told batch by batch what to learn, and sometimes how it does on validation.

    Its loss is the mean over a batch of weight times cross-entropy, plus the penalty on weights.
    """

    def __init__(self, network: keras.Model, config: LayersConfig, task: Task, steps: int) -> None:
        """`steps` is the number after which it has finished, at the latest."""
        self.config = config
        self.curve: list[CurvePoint] = []
        self._network = network
        self._task = task
        self._steps = steps
        self._optimizer = optimizer(config, steps)
        self._optimizer.build(network.trainable_variables)
        self._seen = tf.Variable(np.zeros(3), dtype=tf.float64)
        self._kept: list[NDArray[Any]] = []
        batch = _batch_signature(network.input_shape[1], network.output_shape[1], task)
        self._learn = tf.function(self._learn_step, input_signature=batch)
        self._evaluate = tf.function(self._evaluate_step, input_signature=batch)

    def learn(self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Takes one step on standardised rows [n, D]; returns the totals of that batch."""
        return self._learn(inputs, targets, weights)

    def evaluate(self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """The totals of other images, without dropout."""
        return self._evaluate(inputs, targets, weights)

    def note(self, position: int, validation: Totals) -> None:
        """Ends a stretch of learning with how it did; keeps the weights where they are the best."""
        train_loss, train_accuracy = means(self._seen.numpy())
        loss, accuracy = means(validation)
        self.curve.append(CurvePoint(position, train_loss, loss, train_accuracy, accuracy))
        self._seen.assign(np.zeros(3))
        if self.config.steps or self.best is self.curve[-1]:
            self._kept = self._network.get_weights()

    @property
    def best(self) -> CurvePoint:
        """The first point of the lowest validation loss; with `steps`, the last point."""
        return self.curve[-1] if self.config.steps else min(self.curve, key=_finite_loss)

    def finished(self, step: int) -> bool:
        """Whether nothing is to be learned after so many steps."""
        if step >= self._steps:
            return True
        if self.config.steps or not self.curve:
            return False
        return len(self.curve) - self.best.step >= self.config.patience

    def progress(self, step: int) -> int:
        """Epochs, or steps where it counts these, that it has taken when its group has `step`."""
        return min(step, self._steps) if self.config.steps else len(self.curve)

    def head(self, scale: Standardisation | None = None) -> Head:
        """The head as it is now, for standardised embeddings or, with their scale, for raw ones."""
        return to_head(self._network, scale)

    def fit(self, scale: Standardisation) -> Fit:
        """The head of the weights that were kept.

        Raises:
            ConfigurationError: If they, or what came of them, are not finite.
        """
        if not math.isfinite(self.best.validation_loss):
            raise ConfigurationError(
                "training a head of layers diverged, its loss became infinite: "
                f"lower its learning_rate, now {self.config.learning_rate:g}"
            )
        self._network.set_weights(self._kept)
        head = self.head(scale)
        return Fit("layers", head, lambda: head, self._chosen(), tuple(self.curve))

    def _chosen(self) -> dict[str, Any]:
        """The settings that mattered, and how long it took."""
        config = asdict(self.config)
        idle = {"epochs", "patience"} if self.config.steps else {"steps"}
        if not self.config.hidden:
            idle.add("activation")
        if self.config.optimizer not in {"sgd", "rmsprop"}:
            idle.add("momentum")
        chosen = {name: value for name, value in config.items() if name not in idle}
        if not self.config.steps:
            chosen |= {"epochs": len(self.curve), "best_epoch": self.best.step}
        return chosen

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that decides how it goes on."""
        return {
            "curve": np.array([astuple(point) for point in self.curve]).reshape(-1, 5),
            **{f"variable-{i}": v.numpy() for i, v in enumerate(self._variables)},
            **{f"kept-{i}": weights for i, weights in enumerate(self._kept)},
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Goes on from a state."""
        self.curve = [CurvePoint(int(step), *map(float, rest)) for step, *rest in state["curve"]]
        for i, variable in enumerate(self._variables):
            variable.assign(state[f"variable-{i}"])
        kept = len(self._network.get_weights()) if self.curve else 0
        self._kept = [state[f"kept-{i}"] for i in range(kept)]

    @property
    def _variables(self) -> list[Any]:
        """Weights, the dropout layers' random states, the optimiser's state, and sums."""
        return [*self._network.variables, *self._optimizer.variables, self._seen]

    def _learn_step(self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        trained = self._network.trainable_variables
        with tf.GradientTape() as tape:
            logits = self._network(inputs, training=True)
            losses = self._cross_entropy(targets, logits)
            loss = tf.reduce_mean(weights * losses) + sum(self._network.losses, 0.0)
        self._optimizer.apply(tape.gradient(loss, trained), trained)
        totals = self._totals(targets, logits, weights)
        self._seen.assign_add(totals)
        return totals

    def _evaluate_step(
        self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        return self._totals(targets, self._network(inputs, training=False), weights)

    def _totals(self, targets: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        losses, hits = self._cross_entropy(targets, logits), right(targets, logits, self._task)
        sums = [tf.reduce_sum(weights * values) for values in (losses, hits, 1.0)]
        return tf.cast(tf.stack(sums), tf.float64)

    def _cross_entropy(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return cross_entropy(targets, logits, self._task, self.config.label_smoothing)


def build(inputs: int, classes: int, config: LayersConfig, seed: int = 0) -> keras.Model:
    """The network: dropout before every dense layer, an activation after every hidden one.

    Weights begin as Keras' default has them, those of the last layer as a truncated normal of
    deviation 0.001. The seed decides them, and what is dropped.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 * len(config.hidden) + 2).tolist())
    penalty = keras.regularizers.L1L2(config.l1, config.l2) if config.l1 or config.l2 else None
    x = first = keras.Input((inputs,))
    for units in config.hidden:
        x = keras.layers.Dropout(config.dropout, seed=next(seeds))(x)
        start = keras.initializers.GlorotUniform(next(seeds))
        x = keras.layers.Dense(
            units, config.activation, kernel_initializer=start, kernel_regularizer=penalty
        )(x)
    x = keras.layers.Dropout(config.dropout, seed=next(seeds))(x)
    start = keras.initializers.TruncatedNormal(stddev=0.001, seed=next(seeds))
    last = keras.layers.Dense(classes, kernel_initializer=start, kernel_regularizer=penalty)
    return keras.Model(first, last(x))


def to_head(network: keras.Model, scale: Standardisation | None) -> Head:
    """The network's dense layers, the standardisation folded into the first where given."""
    first, *rest = [
        _dense(layer) for layer in network.layers if isinstance(layer, keras.layers.Dense)
    ]
    return Head((scale.fold(first) if scale else first, *rest))


def cross_entropy(
    targets: tf.Tensor, logits: tf.Tensor, task: Task, label_smoothing: float
) -> tf.Tensor:
    """Of each image, [n]: softmax cross-entropy, or the labels' mean sigmoid cross-entropy."""
    classes = logits.shape[1]
    if task == "single":
        truth = tf.one_hot(targets, classes) * (1 - label_smoothing) + label_smoothing / classes
        return tf.nn.softmax_cross_entropy_with_logits(truth, logits)
    truth = tf.cast(targets, tf.float32) * (1 - label_smoothing) + label_smoothing / 2
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(truth, logits), axis=1)


def right(targets: tf.Tensor, logits: tf.Tensor, task: Task) -> tf.Tensor:
    """1 where the highest score is the label's or, of several, exactly the right are given; [n]."""
    if task == "single":
        return tf.cast(tf.equal(tf.argmax(logits, axis=1), targets), tf.float32)
    equal = tf.equal(logits > 0, tf.cast(targets, tf.bool))
    return tf.cast(tf.reduce_all(equal, axis=1), tf.float32)


def means(totals: Totals) -> tuple[float, float]:
    """Mean loss and accuracy; 0 where no image weighs anything."""
    loss, hits, weight = (float(total) for total in totals)
    return (loss / weight, hits / weight) if weight else (0.0, 0.0)


def _batch_signature(inputs: int, classes: int, task: Task) -> list[tf.TensorSpec]:
    """One trace for batches of all sizes."""
    one = tf.TensorSpec([None], tf.int64)
    targets = one if task == "single" else tf.TensorSpec([None, classes], tf.uint8)
    return [
        tf.TensorSpec([None, inputs], tf.float32),
        targets,
        tf.TensorSpec([None], tf.float32),
    ]


def _dense(layer: keras.layers.Dense) -> Dense:
    kernel, bias = layer.get_weights()
    name = layer.activation.__name__
    return Dense(kernel, bias, "swish" if name == "silu" else name)


def _finite_loss(point: CurvePoint) -> float:
    return point.validation_loss if math.isfinite(point.validation_loss) else math.inf
