"""One version of a model in memory, run as TensorFlow Serving runs it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2

from serving.models.tensorflow_errors import tensorflow_errors
from serving.status import not_found

SERVING_TAG = "serve"

Step = Callable[..., list[NDArray[Any]]]


@dataclass(frozen=True)
class SessionOptions:
    """What a session may take of the machine; 0 lets TensorFlow decide."""

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0


class SavedModel:
    """A SavedModel's serving graph in a session, fed and fetched by tensor names.

    A session of the version 1 API is what TensorFlow Serving itself runs: it knows SignatureDefs
    only, takes any shape that the graph's operations take, and is strict on types. Its memory is
    given back when the last reference goes, so a request that holds one finishes on it.
    """

    def __init__(
        self,
        folder: Path,
        tags: Iterable[str] = (SERVING_TAG,),
        options: SessionOptions = SessionOptions(),
    ) -> None:
        with tensorflow_errors():
            session = tf.compat.v1.Session(graph=tf.Graph(), config=_session_config(options))
            meta_graph = _load_graph(session, folder, tags)
        self.signatures = meta_graph.signature_def
        # A closure over the session alone: one over self would be a cycle, freed who knows when.
        self._step = lru_cache(maxsize=64)(lambda feeds, fetches: _step(session, feeds, fetches))

    def run(
        self,
        feeds: Mapping[str, NDArray[Any]],
        fetches: Sequence[str],
        timeout_seconds: float | None = None,
    ) -> list[NDArray[Any]]:
        """Run the graph once, as `Servable.run`; a run that has begun is never broken off."""
        with tensorflow_errors():
            return list(self._step(tuple(feeds), tuple(fetches))(*feeds.values()))


def _session_config(options: SessionOptions) -> config_pb2.ConfigProto:
    config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=options.intra_op_threads,
        inter_op_parallelism_threads=options.inter_op_threads,
    )
    config.gpu_options.allow_growth = True
    config.gpu_options.per_process_gpu_memory_fraction = options.gpu_memory_fraction
    return config


def _load_graph(session: tf.compat.v1.Session, folder: Path, tags: Iterable[str]) -> Any:
    try:
        with session.graph.as_default():
            return tf.compat.v1.saved_model.load(session, list(tags), str(folder))
    except (OSError, RuntimeError) as error:  # no such file, or no graph of these tags
        raise not_found(" ".join(str(error).split())) from error


def _step(session: tf.compat.v1.Session, feeds: Iterable[str], fetches: Iterable[str]) -> Step:
    options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
    # The public Session.run refuses shapes that TensorFlow Serving lets pass.
    step: Step = session._make_callable_from_options(options)
    return step
