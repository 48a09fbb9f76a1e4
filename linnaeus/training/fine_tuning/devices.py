"""What a network is trained on: this machine's processor, a graphics card, or several of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Devices:
    """Where networks compute, and how."""

    strategy: Any
    """A `tf.distribute.Strategy`."""
    float16: bool = False
    """Whether Keras layers compute in float16; their weights are float32 all the same."""

    @classmethod
    def found(cls, *, mixed_precision: bool) -> "Devices":
        """All graphics cards, each with a copy of the network where there are several.

        Mixed precision is for graphics cards, processors compute in float32.
        """
        cards = tf.config.list_logical_devices("GPU")
        mirrored = tf.distribute.MirroredStrategy if len(cards) > 1 else tf.distribute.get_strategy
        return cls(mirrored(), mixed_precision and bool(cards))

    @property
    def count(self) -> int:
        """How many share a batch."""
        return int(self.strategy.num_replicas_in_sync)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is made inside lies on the devices, and computes as it should there."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16" if self.float16 else "float32")
        try:
            with self.strategy.scope():
                yield
        finally:
            keras.config.set_dtype_policy(before)
