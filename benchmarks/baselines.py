"""What one would write without linnaeus: the same files and weights by Keras, and by Beam.

TensorFlow takes all processors for decoding and for the network, as it does by default.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from benchmarks.measuring import Measure, job_rate, rate_of, seconds_of
from benchmarks.setting import BACKBONE, Setting
from linnaeus.backbones.families.efficientnet_lite import (
    MEAN,
    SCALE,
    VARIANTS,
    feature_network,
    weights_file,
)
from linnaeus.backbones.families.torch_state_dict import read_state_dict

if TYPE_CHECKING:
    import keras

BATCH = 32
VARIANT = VARIANTS[BACKBONE]


def network() -> keras.Model:
    """The backbone in Keras: RGB values from 0 to 255, `[N, H, W, 3]`, to `[N, 1280]`."""
    import keras

    image = keras.Input((VARIANT.size, VARIANT.size, 3))
    normalised = keras.layers.Rescaling(1 / SCALE, -MEAN / SCALE)(image)
    features = feature_network(
        VARIANT, read_state_dict(weights_file(VARIANT)), VARIANT.size, middle=False
    )
    return keras.Model(image, features(normalised))


def decode(path: Any) -> Any:
    """A file's picture as float32 `[H, W, 3]`, resized with antialiasing."""
    pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    return tf.image.resize(pixels, (VARIANT.size, VARIANT.size), antialias=True)


def keras_predict(setting: Setting) -> Measure:
    """tf.data decodes in parallel and ahead, `Model.predict` takes batches of 32."""
    model = network()

    def predict(paths: Sequence[str]) -> None:
        embed(model, paths)

    return rate_of("keras", predict, [str(path) for path in setting.files()])


def embed(model: keras.Model, paths: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of the files, `[N, 1280]`, in order."""
    dataset = tf.data.Dataset.from_tensor_slices(list(paths))
    decoded = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    batches = decoded.batch(BATCH).prefetch(tf.data.AUTOTUNE)
    rows: NDArray[np.float32] = model.predict(batches, verbose=0)
    return rows


def run_inference(setting: Setting) -> Measure:
    """Beam's RunInference with its TensorFlow handler; start-up (it loads the model) apart."""
    import apache_beam as beam
    from apache_beam.ml.inference.base import RunInference
    from apache_beam.ml.inference.tensorflow_inference import TFModelHandlerTensor

    saved = Path(setting.data) / "network.keras"
    network().save(saved)
    handler = TFModelHandlerTensor(str(saved), max_batch_size=BATCH)
    paths = [str(path) for path in setting.files()]

    def run(count: int) -> None:
        with beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline:
            (
                pipeline
                | "List files" >> beam.Create(paths[:count], reshuffle=False)
                | "Spread files" >> beam.Reshuffle()
                | "Decode" >> beam.Map(decode)
                | "Embed" >> RunInference(handler)
                | "Take vectors" >> beam.Map(lambda result: result.inference.numpy())
                | "Count" >> beam.combiners.Count.Globally()
            )

    def seconds(count: int) -> float:
        return seconds_of(lambda: run(count))

    return job_rate("run-inference", seconds, setting.few, setting.images)
