"""A classifier of pictures given as numbers from 0 to 1, as `retrain.py` exported it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from linnaeus.signatures import PIXELS, SCORES, SERVING_DEFAULT

WHITE = 255.0

Score = Callable[[tf.Tensor], tf.Tensor]


class FloatModel(tf.Module):
    """Takes `image` float32 [N, H, W, 3] from 0 to 1, gives `prediction` float32 [N, C].

    The numbers become the bytes they stand for, so that equal pixels have equal scores here and
    wherever else the model is asked.
    """

    def __init__(self, score: Score, parts: Any, size: tuple[int, int]) -> None:
        """`score` gives the scores of uint8 pixels; `parts` owns its variables."""
        super().__init__()
        self.parts = parts
        self.image = tf.TensorSpec([None, *size, 3], tf.float32, name="image")
        self._score = score

    @tf.function  # type: ignore[untyped-decorator]
    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        """Scores [N, C], which sum to 1."""
        pixels = tf.cast(tf.round(tf.clip_by_value(image, 0.0, 1.0) * WHITE), tf.uint8)
        return self._score(pixels)

    def save(self, folder: Path) -> None:
        """Write a SavedModel: signature `serving_default`, from `image` to `prediction`."""
        serve = tf.function(lambda image: {"prediction": self(image)}, input_signature=[self.image])
        tf.saved_model.save(self, str(folder), signatures={SERVING_DEFAULT: serve})


def of_published(folder: Path) -> FloatModel:
    """A published model, by its folder."""
    loaded = tf.saved_model.load(str(folder))
    score = loaded.signatures[PIXELS]
    height, width = score.structured_input_signature[1][PIXELS].shape[1:3]
    return FloatModel(lambda pixels: score(pixels=pixels)[SCORES], loaded, (height, width))
