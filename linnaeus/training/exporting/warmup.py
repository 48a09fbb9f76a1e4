"""Warm-up records: requests that a server sends a model before it serves others.

TensorFlow Serving replays `assets.extra/tf_serving_warmup_requests`, a TFRecord file of
PredictionLog messages (tensorflow/serving, servables/tensorflow/saved_model_warmup.cc).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

FILE = "assets.extra/tf_serving_warmup_requests"


def write(
    folder: Path, model: str, inputs: dict[str, dict[str, Any]], outputs: Sequence[str]
) -> None:
    """Writes two records a signature: one for all its outputs, one for those that scoring asks.

    TensorFlow optimises the graph again for each set of outputs, so the first request for a set
    takes seconds.

    Args:
        folder: of the version.
        model: its name.
        inputs: each signature's inputs by name.
        outputs: those that scoring asks for.
    """
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, tensors in inputs.items():
            record = _record(model, signature, tensors)
            writer.write(record.SerializeToString())
            record.predict_log.request.output_filter.extend(outputs)
            writer.write(record.SerializeToString())


def _record(model: str, signature: str, tensors: dict[str, Any]) -> PredictionLog:
    record = PredictionLog()
    request = record.predict_log.request
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, tensor in tensors.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
    return record
