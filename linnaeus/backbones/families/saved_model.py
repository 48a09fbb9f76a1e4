"""Write a network as the SavedModel that every engine starts from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnaeus.signatures import EMBEDDING, PIXELS, SERVING_DEFAULT

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def write(
    embed: Callable[[tf.Tensor], tf.Tensor], parts: Any, size: tuple[int, int], to: Path
) -> int:
    """Write `embed` with signature `serving_default`: `pixels` uint8 `[N, H, W, 3]` to `embedding`.

    `embed` takes that uint8 tensor and gives float32 `[N, D]`; `parts` is a trackable that owns
    its variables; `size` is (height, width). Returns D. What is loaded again has the method
    `embed`, a signature of the same kind, and can be a part of another module that is saved.
    """
    import tensorflow as tf

    pixels = tf.TensorSpec([None, *size, 3], tf.uint8, name=PIXELS)
    module: Any = tf.Module()
    module.parts = parts
    module.embed = tf.function(lambda pixels: {EMBEDDING: embed(pixels)}, input_signature=[pixels])
    shape = module.embed.get_concrete_function().structured_outputs[EMBEDDING].shape
    tf.saved_model.save(module, str(to), signatures={SERVING_DEFAULT: module.embed})
    return int(shape[-1])


def variables(network: keras.Model) -> list[tf.Variable]:
    """The network's variables, as `write` has to be given them.

    With the Keras model itself as the owner, OpenVINO does not find the variables' values, and
    LiteRT takes others.
    """
    return [weight.value for weight in network.weights]
