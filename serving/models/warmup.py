"""Replays the requests that a model brings along, so that no client waits for first-time work."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.grpc_status import invalid_argument
from serving.inference import classify, multi_inference, predict, regress
from serving.models.saved_models import tensorflow_errors
from serving.models.servable import Servable

RECORDS = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000

Replay = Callable[[Servable, Any], object]

REPLAYS: Mapping[str, Replay] = {
    "predict_log": predict.answer,
    "classify_log": classify.answer,
    "regress_log": regress.answer,
    "multi_inference_log": multi_inference.answer,
}
"""How each kind of PredictionLog is replayed; kinds that are not here are passed over."""


def has_requests(folder: Path) -> bool:
    """Whether a version brings warm-up requests along."""
    return (folder / RECORDS).is_file()


def warm_up(model: Servable, folder: Path, iterations: int = 1) -> int:
    """Replay the requests of a version's warm-up file, if it has one.

    Follows `servables/tensorflow/saved_model_warmup_util.cc`.

    Returns:
        How many records were replayed.

    Raises:
        StatusError: one of them fails, or there are more than 1000; the version is then unfit.
    """
    replayed = 0
    for kind, request in _requests(folder / RECORDS) if has_requests(folder) else ():
        for _ in range(max(iterations, 1)):
            REPLAYS[kind](model, request)
        replayed += 1
    return replayed


def _requests(path: Path) -> Iterator[tuple[str, Any]]:
    with tensorflow_errors():
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    if len(records) > MOST_RECORDS:
        raise invalid_argument(
            f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {path}"
        )
    for number, record in enumerate(records):
        log = _parsed(record, number, path)
        kind = log.WhichOneof("log_type")
        if kind in REPLAYS:
            yield kind, getattr(log, kind).request


def _parsed(record: bytes, number: int, path: Path) -> prediction_log_pb2.PredictionLog:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise invalid_argument(
            f"Failed to parse warmup record {number}: no PredictionLog, at {path}"
        ) from error
