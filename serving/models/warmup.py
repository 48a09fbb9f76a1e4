"""Replays the requests that a model brings along, so that no client waits for first-time work."""

from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.inference.predict import answer
from serving.models.saved_models import SavedModel
from serving.status import StatusError, tensorflow_errors

RECORDS = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000


def warm_up(model: SavedModel, folder: Path) -> int:
    """Replay the Predict requests of a version's warm-up file, if it has one.

    Returns:
        How many were replayed.

    Raises:
        StatusError: one of them fails, or there are more than 1000; the version is then unfit.
    """
    path = folder / RECORDS
    if not path.is_file():
        return 0
    with tensorflow_errors():
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    if len(records) > MOST_RECORDS:
        raise StatusError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {path}",
        )
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    requests = [log.predict_log.request for log in logs if log.HasField("predict_log")]
    for request in requests:
        answer(model, request)
    return len(requests)
