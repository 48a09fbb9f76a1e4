"""One version of a model in memory, run as TensorFlow Serving runs it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session as tf_session
from tensorflow.python.framework.ops import dismantle_graph

from serving.grpc_status import StatusError, invalid_argument, not_found
from serving.models.checked_model import Infer, Shapes
from serving.models.servable import Feeds

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
SERVING_TAG = "serve"


@dataclass(frozen=True)
class SessionOptions:
    """What a session may take of the machine; 0 lets TensorFlow decide."""

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0


class SavedModel:
    """A SavedModel's serving graph in a session, fed and fetched by tensor names.

    A session of the version 1 API is what TensorFlow Serving itself runs: it knows SignatureDefs
    only, and hands any shape on to its operations. Its memory is given back when the last reference
    goes, so a request that holds one finishes on it.
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
        self._session = session
        # A closure over the session alone: one over self would be a cycle, freed who knows when.
        self._outputs = lru_cache(maxsize=64)(lambda names: _outputs(session, names))
        self.infer: Infer = lru_cache(maxsize=1024)(lambda *asked: _inferred(session.graph, *asked))

    def run(
        self, feeds: Feeds, fetches: Sequence[str], timeout_seconds: float | None = None
    ) -> list[NDArray[Any]]:
        """Run the graph once, as `Servable.run`.

        A run that takes longer than `timeout_seconds` is broken off between two operations, and
        refused with DEADLINE_EXCEEDED.
        """
        fed = dict(zip(self._outputs(tuple(feeds)), feeds.values(), strict=True))
        fetched = self._outputs(tuple(fetches))
        with tensorflow_errors():
            values = _run(self._session, fed, fetched, timeout_seconds)
        return [_array(value) for value in values]


def _run(
    session: tf.compat.v1.Session,
    feeds: Mapping[Any, NDArray[Any]],
    fetches: Sequence[Any],
    timeout_seconds: float | None,
) -> list[Any]:
    options = _run_options(timeout_seconds)
    try:
        # The public Session.run refuses shapes that TensorFlow Serving lets pass.
        values: list[Any] = session._call_tf_sessionrun(options, feeds, fetches, [], None)
    finally:
        if options is not None:
            tf_session.TF_DeleteBuffer(options)
    return values


def _outputs(session: tf.compat.v1.Session, names: Sequence[str]) -> list[Any]:
    """The graph's tensors of these names, as its session knows them."""
    try:
        return [session.graph.get_tensor_by_name(name)._as_tf_output() for name in names]
    except (KeyError, ValueError) as error:
        raise not_found(f"a signature names a tensor that its graph lacks: {error}") from error


def _inferred(graph: tf.Graph, shapes: Shapes, fetches: Sequence[str]) -> Sequence[tf.TensorShape]:
    """What the graph's shape functions say of outputs when the inputs have these shapes.

    Raises:
        StatusError: INVALID_ARGUMENT, they refuse them.
    """
    tensors = {name: graph.get_tensor_by_name(name) for name, _ in shapes}
    with tf.Graph().as_default() as copy:
        given = {
            name: tf.compat.v1.placeholder(tensors[name].dtype, shape)
            for name, shape in shapes
            if tensors[name].consumers()
        }
        try:
            found = tf.import_graph_def(graph.as_graph_def(), given, list(fetches))
            return [tensor.shape for tensor in found]
        except ValueError as error:
            raise invalid_argument(str(error)) from error
        finally:
            dismantle_graph(copy)


def _run_options(timeout_seconds: float | None) -> Any | None:
    """A buffer to delete after the run; None for ever."""
    if timeout_seconds is None:
        return None
    # A timeout of 0 would be none.
    options = config_pb2.RunOptions(timeout_in_ms=max(1, math.ceil(timeout_seconds * 1000)))
    return tf_session.TF_NewBufferFromString(options.SerializeToString())


def _array(value: Any) -> NDArray[Any]:
    # A session gives a scalar string as `bytes`, of which NumPy would make fixed-width text.
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


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


@contextmanager
def tensorflow_errors() -> Iterator[None]:
    """Turn TensorFlow's errors into `StatusError`."""
    try:
        yield
    except tf.errors.OpError as error:
        code = _BY_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN)
        raise StatusError(code, error.message) from error
