"""The training loop of a fine-tuning: steps, epochs, the best weights, and going on after a kill.

The loss of a batch is the mean over its images of weight times cross-entropy, plus penalties. What
a step reads and drops is decided by the seed and the step's number.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError
from linnaeus.training.config import FineTuningConfig
from linnaeus.training.fine_tuning.devices import Devices
from linnaeus.training.fine_tuning.images import Streams
from linnaeus.training.fine_tuning.pixel_stream import Stream
from linnaeus.training.fine_tuning.tunable import Tunable
from linnaeus.training.heads.batches import BatchOrder
from linnaeus.training.heads.head import CurvePoint, Head
from linnaeus.training.heads.learner import cross_entropy, means, right
from linnaeus.training.heads.schedules import optimizer

Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
State = dict[str, NDArray[Any]]


class TrainingLoop:
    """A network on its way through the epochs, on one device or on several at once."""

    def __init__(
        self,
        network: Tunable,
        streams: Streams,
        config: FineTuningConfig,
        seed: int,
        devices: Devices,
    ) -> None:
        """The network was made in the devices' scope."""
        self.network, self.config, self.task = network, config, streams.task
        self.curve: list[CurvePoint] = []
        self.best: list[NDArray[Any]] = []
        """Values of what training changes, after the epoch of the lowest validation loss."""
        self.images_per_second = 0.0
        """In the last epoch, without validation."""
        self._streams, self._seed, self._strategy = streams, seed, devices.strategy
        targets = streams.train.examples.targets[streams.train.rows]
        self._order = BatchOrder(targets, config.batch_size, "shuffled", seed)
        with devices.scope():
            self._optimizer = optimizer(config, config.epochs * self._order.per_epoch)
            if devices.float16:  # whose small gradients would vanish
                self._optimizer = keras.optimizers.LossScaleOptimizer(self._optimizer)
            self._optimizer.build(network.learned)
        self._learn = tf.function(self._on_all(self._learn_part))
        self._judge = tf.function(self._on_all(self._judge_part))
        self._embed = tf.function(lambda inputs: network.embedding(self._given(inputs)))

    @property
    def steps(self) -> int:
        """How many are done."""
        return len(self.curve) * self._order.per_epoch

    @property
    def finished(self) -> bool:
        """After the last epoch, or when validation has not got better for long enough."""
        epochs = len(self.curve)
        return epochs >= self.config.epochs or epochs - self.best_epoch >= self.config.patience

    @property
    def best_epoch(self) -> int:
        """That of the lowest validation loss, counted from 1; 0 before the first."""
        best = min(self.curve, key=lambda point: point.validation_loss, default=None)
        return 0 if best is None else best.step

    def epoch(self) -> Iterator[tuple[int, tuple[float, float]]]:
        """Goes through one epoch; gives each step's number and the batch's loss and accuracy."""
        epoch, before, started = len(self.curve), self.steps, time.perf_counter()
        totals = np.zeros(3)
        for step, batch in enumerate(self._distributed(self._streams.train, epoch), before + 1):
            of_batch = self._learn(batch, tf.constant([self._seed, step], tf.int32)).numpy()
            totals += of_batch
            yield step, means(of_batch)
        seconds = time.perf_counter() - started
        self.images_per_second = len(self._streams.train) / seconds
        self._note(epoch + 1, means(totals), self._validate())

    def head(self) -> Head:
        """The last layer as it is now."""
        return self.network.head()

    def embedded_sample(self) -> NDArray[np.float32]:
        """Embeddings of some validation images as they are now, [n, D]."""
        stream = self._streams.validation
        rows = stream.rows[: self.config.batch_size]
        embeddings: NDArray[np.float32] = self._embed(tf.constant(stream.inputs[rows])).numpy()
        return embeddings

    def state(self) -> State:
        """Everything that decides how it goes on."""
        return {
            "curve": np.array([astuple(point) for point in self.curve]).reshape(-1, 5),
            **_numbered("changed", [variable.numpy() for variable in self._variables]),
            **_numbered("best", self.best),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Goes on from a state; raises ConfigurationError for one of another network."""
        try:
            for number, variable in enumerate(self._variables):
                variable.assign(state[f"changed-{number}"])
            self.best = [state[f"best-{number}"] for number in range(len(self.network.changed))]
        except (KeyError, ValueError) as error:
            raise ConfigurationError(
                "the checkpoint of this fine-tuning is of another network: delete the workspace's "
                "training folder to start again"
            ) from error
        self.curve = [CurvePoint(int(step), *map(float, rest)) for step, *rest in state["curve"]]

    @property
    def _variables(self) -> list[Any]:
        return [*self.network.changed, *self._optimizer.variables]

    def _note(
        self, epoch: int, trained: tuple[float, float], validated: tuple[float, float]
    ) -> None:
        if not math.isfinite(trained[0] + validated[0]):
            raise ConfigurationError(
                f"the loss of the fine-tuning is no number in epoch {epoch}: lower the learning "
                f"rate, which is {self.config.learning_rate:g}"
            )
        self.curve.append(CurvePoint(epoch, trained[0], validated[0], trained[1], validated[1]))
        if self.best_epoch == epoch:
            self.best = [variable.numpy() for variable in self.network.changed]

    def _validate(self) -> tuple[float, float]:
        totals = np.zeros(3)
        for batch in self._distributed(self._streams.validation):
            totals += self._judge(batch).numpy()
        return means(totals)

    def _distributed(self, stream: Stream, epoch: int | None = None) -> Any:
        """A stream's batches, each split over the devices; shuffled where an epoch is given."""
        if epoch is None:
            batches = stream.batches()
        else:
            steps = range(epoch * self._order.per_epoch, (epoch + 1) * self._order.per_epoch)
            order = np.concatenate([self._order.rows(step) for step in steps])
            batches = stream.batches(order, epoch)
        return self._strategy.experimental_distribute_dataset(batches)

    def _on_all(self, compute: Any) -> Any:
        """A function of a distributed batch, computed by each device on its part and summed."""

        def summed(*arguments: Any) -> tf.Tensor:
            totals = self._strategy.run(compute, args=arguments)
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, totals, axis=None)

        return summed

    def _learn_part(self, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
        inputs, targets, weights, share = batch
        learned = self.network.learned
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        devices = self._strategy.num_replicas_in_sync
        x = self._given(inputs)
        with tf.GradientTape() as tape:
            logits = self.network.logits(x, seed + tf.stack([replica, 0]))
            losses = cross_entropy(targets, logits, self.task, self.config.label_smoothing)
            penalty = self.network.penalty(self.config.l2) / devices
            loss = tf.reduce_sum(share * weights * losses) + penalty
            scaled = self._optimizer.scale_loss(loss)
        nothing = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(scaled, learned, unconnected_gradients=nothing)
        self._optimizer.apply(gradients, learned)
        return self._totals(losses, targets, logits, weights)

    def _judge_part(self, batch: Batch) -> tf.Tensor:
        inputs, targets, weights, _ = batch
        logits = self.network.logits(self._given(inputs))
        losses = cross_entropy(targets, logits, self.task, 0.0)
        return self._totals(losses, targets, logits, weights)

    def _given(self, inputs: tf.Tensor) -> tf.Tensor:
        """What the trained part of the network takes."""
        return inputs if self._streams.computed else self.network.trunk.frozen(inputs)

    def _totals(
        self, losses: tf.Tensor, targets: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        """float64 [3]: weighted loss, weighted hits and weights, each summed."""
        hits = right(targets, logits, self.task)
        sums = [tf.reduce_sum(weights * values) for values in (losses, hits, 1.0)]
        return tf.cast(tf.stack(sums), tf.float64)


def _numbered(name: str, arrays: list[NDArray[Any]]) -> State:
    return {f"{name}-{number}": array for number, array in enumerate(arrays)}
