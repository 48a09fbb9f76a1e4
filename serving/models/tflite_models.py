"""A TensorFlow Lite model in memory, behind the same interface as a SavedModel.

Follows `servables/tensorflow/tflite_session.cc`.
"""

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from flatbuffers import flexbuffers
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import meta_graph_pb2

from linnaeus.signatures import SERVING_DEFAULT
from serving.grpc_status import StatusError, invalid_argument
from serving.models.checked_model import Shapes
from serving.models.servable import Feeds

_NAME = b"signature_defs_metadata"
PREDICT = "tensorflow/serving/predict"

Details = Mapping[str, Mapping[str, Any]]
"""Alias -> what the interpreter tells of a tensor."""

Call = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Runs a graph on arrays by alias."""


class TfliteModel:
    """A `model.tflite` and its interpreters, each of which runs one request at a time.

    A model without signatures is served as `serving_default`, under its tensors' names or those
    that its metadata gives them; so is a single signature of another name.
    """

    def __init__(self, path: Path, interpreters: int = 1) -> None:
        content = path.read_bytes()
        self._idle: queue.SimpleQueue[_Interpreter] = queue.SimpleQueue()
        with _load_errors(path):
            for _ in range(max(interpreters, 1)):
                self._idle.put(_Interpreter(content))
        with self._lent() as interpreter:
            self.signatures: Mapping[str, Any] = interpreter.signatures()

    def run(
        self, feeds: Feeds, fetches: Sequence[str], timeout_seconds: float | None = None
    ) -> list[NDArray[Any]]:
        """Run one signature's graph, as `Servable.run`."""
        with self._lent(timeout_seconds) as interpreter:
            return interpreter.run(feeds, fetches)

    @staticmethod
    def infer(shapes: Shapes, fetches: Sequence[str]) -> Sequence[tf.TensorShape]:
        """Nothing is known: interpreters have no shape functions, and check shapes as they run."""
        return [tf.TensorShape(None)]

    @contextmanager
    def _lent(self, timeout_seconds: float | None = None) -> "Iterator[_Interpreter]":
        try:
            interpreter = self._idle.get(timeout=timeout_seconds)
        except queue.Empty:
            raise StatusError(
                grpc.StatusCode.DEADLINE_EXCEEDED, "No TensorFlow Lite interpreter became free."
            ) from None
        try:
            yield interpreter
        finally:
            self._idle.put(interpreter)


class _Interpreter:
    """One interpreter, by tensor names of the form `SIGNATURE_ALIAS:0`."""

    def __init__(self, content: bytes) -> None:
        self._interpreter = _interpreter_class()(model_content=content)
        self._interpreter.allocate_tensors()
        self._graphs = dict(_graphs(self._interpreter, content))

    def signatures(self) -> dict[str, Any]:
        found = {name: graph.signature for name, graph in self._graphs.items()}
        if SERVING_DEFAULT not in found and len(found) == 1:
            found[SERVING_DEFAULT] = next(iter(found.values()))
        return found

    def run(self, feeds: Feeds, fetches: Sequence[str]) -> list[NDArray[Any]]:
        graph = self._graph_of(fetches)
        inputs = {}
        for name, array in feeds.items():
            if name not in graph.inputs:
                raise invalid_argument(f"Missing input TFLite tensor: {name}")
            inputs[graph.inputs[name]] = array
        try:
            outputs = graph.call(inputs)
        except (RuntimeError, ValueError) as error:
            raise invalid_argument(f"Failed to run interpreter: {error}") from error
        return [np.array(outputs[graph.outputs[name]]) for name in fetches]

    def _graph_of(self, fetches: Sequence[str]) -> "_Graph":
        for graph in self._graphs.values():
            if all(name in graph.outputs for name in fetches):
                return graph
        raise invalid_argument(f"Missing output TFLite tensor: {', '.join(fetches)}")


class _Graph:
    """One signature: its aliases by tensor name, and what runs it on arrays by alias."""

    def __init__(self, name: str, inputs: Details, outputs: Details, call: Call) -> None:
        self.call = call
        self.signature = meta_graph_pb2.SignatureDef(method_name=PREDICT)
        self.inputs = _fill(self.signature.inputs, name, inputs)
        self.outputs = _fill(self.signature.outputs, name, outputs)


def _graphs(interpreter: Any, content: bytes) -> Iterable[tuple[str, _Graph]]:
    for name in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(name)
        details = runner.get_input_details(), runner.get_output_details()
        yield name, _Graph(name, *details, _calling(runner))
    if not interpreter.get_signature_list():
        signature = signature_in_metadata(content) or meta_graph_pb2.SignatureDef()
        yield SERVING_DEFAULT, _whole_graph(interpreter, signature)


def _calling(runner: Any) -> Call:
    return lambda arrays: runner(**arrays)  # type: ignore[no-any-return]


def _whole_graph(interpreter: Any, signature: Any) -> _Graph:
    inputs = _by_alias(interpreter.get_input_details(), signature.inputs)
    outputs = _by_alias(interpreter.get_output_details(), signature.outputs)

    def call(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for alias, array in arrays.items():
            interpreter.resize_tensor_input(inputs[alias]["index"], array.shape)
        interpreter.allocate_tensors()
        for alias, array in arrays.items():
            interpreter.set_tensor(inputs[alias]["index"], array)
        interpreter.invoke()
        return {alias: interpreter.get_tensor(d["index"]) for alias, d in outputs.items()}

    return _Graph(SERVING_DEFAULT, inputs, outputs, call)


def _by_alias(details: Iterable[Mapping[str, Any]], infos: Mapping[str, Any]) -> Details:
    """Tensors under the aliases of a SignatureDef, or under their own names."""
    # TensorFlow's names of tensors end in `:0`, which TensorFlow Lite's do not.
    aliases = {info.name.partition(":")[0]: alias for alias, info in infos.items()}
    aliases |= {info.name: alias for alias, info in infos.items()}
    return {aliases.get(detail["name"], detail["name"]): detail for detail in details}


def _fill(infos: Any, signature: str, details: Details) -> dict[str, str]:
    """Describe tensors in a SignatureDef; tensor name -> alias."""
    for alias, detail in details.items():
        info = infos[alias]
        info.name = f"{signature}_{alias}:0"
        info.dtype = tf.as_dtype(detail["dtype"]).as_datatype_enum
        info.tensor_shape.SetInParent()
        for axis, size in enumerate(map(int, detail["shape_signature"])):
            # Converters say one row, and interpreters take any number.
            info.tensor_shape.dim.add(size=-1 if axis == 0 and size == 1 else size)
    return {infos[alias].name: alias for alias in details}


def _interpreter_class() -> Any:
    """LiteRT where it is installed: the one within TensorFlow is to go."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return tf.lite.Interpreter
    return Interpreter


@contextmanager
def _load_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise invalid_argument(f"Cannot build FlatBufferModel from {path}: {error}") from error


def signature_in_metadata(content: bytes) -> Any | None:
    """The one SignatureDef that TensorFlow Serving serves, as `serving_default`; None if none.

    A model of older tools has it as TensorFlow's `lite/tools/signature/signature_def_util.h` writes
    it: under one name, a FlexBuffer map of serialised SignatureDefs.

    Args:
        content: a FlatBuffer that an interpreter has taken.

    Raises:
        StatusError: INVALID_ARGUMENT, there are several, or what is there cannot be read.
    """
    data = _metadata(content)
    if data is None:
        return None
    try:
        serialized = [value.AsStringBytes for value in flexbuffers.GetRoot(data).AsMap.Values]
        found = [meta_graph_pb2.SignatureDef.FromString(bytes(each)) for each in serialized]
    except (DecodeError, IndexError, TypeError, ValueError) as error:
        raise invalid_argument("Invalid SignatureDefs found in TfLite model: %s") from error
    if len(found) > 1:
        # TensorFlow Serving joins a format and its argument, and so keeps the `%s`.
        raise invalid_argument("Multiple SignatureDefs found in TfLite model: %s")
    return found[0] if found else None


def _metadata(content: bytes) -> bytearray | None:
    model = _schema().Model.GetRootAsModel(content, 0)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == _NAME:
            data = model.Buffers(entry.Buffer()).DataAsNumpy()
            return bytearray(data.tobytes()) if hasattr(data, "tobytes") else bytearray()
    return None


def _schema() -> Any:
    """The classes of the file format: LiteRT's where it is installed, as its interpreter is."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        from tensorflow.lite.python import schema_py_generated
    return schema_py_generated
