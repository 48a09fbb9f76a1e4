"""How weights follow gradients: optimisers, and step sizes that warm up and decay."""

import math
from typing import Any

import keras
import tensorflow as tf

from linnaeus.training.config import Decay, FineTuningConfig, LayersConfig

EXPONENTIAL_END = 0.01
"""Share of the step size that exponential decay leaves at the last step."""


class WarmUpAndDecay(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A step size that grows linearly from 0 to its full value, then falls until the last step.

    Cosine decay ends at 0 (Loshchilov and Hutter 2017, without restarts), exponential decay at
    `EXPONENTIAL_END` of the full value.
    """

    def __init__(self, full: float, warmup_steps: int, decay: Decay, steps: int) -> None:
        """`steps` counts all steps of the training, those of the warm-up among them."""
        self.full = full
        self.warmup_steps = warmup_steps
        self.decay = decay
        self.steps = steps

    def __call__(self, step: Any) -> tf.Tensor:
        """The size of a step, counted from 0."""
        step = tf.cast(step, tf.float32)
        warmth = tf.minimum(1.0, step / max(1, self.warmup_steps)) if self.warmup_steps else 1.0
        falling = max(1, self.steps - self.warmup_steps)
        progress = tf.clip_by_value((step - self.warmup_steps) / falling, 0.0, 1.0)
        return self.full * warmth * self._remaining(progress)

    def _remaining(self, progress: tf.Tensor) -> tf.Tensor:
        if self.decay == "cosine":
            return 0.5 * (1 + tf.cos(math.pi * progress))
        if self.decay == "exponential":
            return tf.pow(EXPONENTIAL_END, progress)
        return tf.ones_like(progress)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as Keras asks for them."""
        return dict(vars(self))


def optimizer(config: LayersConfig | FineTuningConfig, steps: int) -> keras.optimizers.Optimizer:
    """The optimiser for a training of so many steps; AdamW has Keras' decay of weights, 0.004."""
    rate: Any = config.learning_rate
    if config.warmup_steps or config.decay != "none":
        rate = WarmUpAndDecay(rate, config.warmup_steps, config.decay, steps)
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=config.momentum)
    if config.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(rate, momentum=config.momentum)
    return (keras.optimizers.AdamW if config.optimizer == "adamw" else keras.optimizers.Adam)(rate)
