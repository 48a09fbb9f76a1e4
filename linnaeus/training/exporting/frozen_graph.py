"""Frozen graphs, which TensorFlow 1 read: a GraphDef in a file, its weights constants in it."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from linnaeus.errors import ConfigurationError
from linnaeus.training.exporting.float_model import FloatModel

INPUT = "Placeholder"
"""The name that `retrain.py` left its input."""


def freeze(model: FloatModel, output: str) -> bytes:
    """A model's GraphDef: from `Placeholder` float32 [N, H, W, 3] to the node named `output`."""
    function = convert_variables_to_constants_v2(model.__call__.get_concrete_function(model.image))
    (given,), (scores,) = function.inputs, function.outputs
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, model.image.shape, name=INPUT)
        (result,) = tf.graph_util.import_graph_def(
            function.graph.as_graph_def(), {given.name: image}, [scores.name], name="model"
        )
        tf.identity(result, name=output)
    content: bytes = graph.as_graph_def().SerializeToString(deterministic=True)
    return content


class FrozenGraph:
    """A graph that was read from a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        graph = read(path)
        self._function = tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(graph, name=""), []
        )

    def has(self, layer: str) -> bool:
        """Whether there is a node of that name."""
        return layer in {operation.name for operation in self._function.graph.get_operations()}

    def size_of(self, layer: str) -> tuple[int | None, int | None]:
        """Height and width of the pictures that a node takes, where the graph says so."""
        shape = self._tensor(layer).shape
        return (shape[1], shape[2]) if shape.rank == 4 else (None, None)

    def run(self, input_layer: str, output_layer: str, pictures: NDArray[np.float32]) -> NDArray:
        """What a node gives when another is fed with pictures [N, H, W, 3].

        Raises:
            ConfigurationError: If there is no such node, or it takes no such pictures.
        """
        source, result = self._tensor(input_layer), self._tensor(output_layer)
        given = tf.constant(pictures, source.dtype)
        if not source.shape.is_compatible_with(given.shape):
            raise ConfigurationError(
                f"{input_layer} of {self.path} takes {source.shape}, not {given.shape}: "
                "give its --input_height and --input_width"
            )
        values: NDArray = self._function.prune(source, result)(given).numpy()
        return values

    def _tensor(self, layer: str) -> Any:
        if not self.has(layer):
            raise ConfigurationError(f"the graph {self.path} has no layer {layer!r}: {self._hint}")
        return self._function.graph.get_operation_by_name(layer).outputs[0]

    @property
    def _hint(self) -> str:
        operations = self._function.graph.get_operations()
        inputs = [one.name for one in operations if one.type == "Placeholder"]
        return f"its inputs are {', '.join(inputs) or 'none'}, its last layer {operations[-1].name}"


def read(path: Path) -> Any:
    """The GraphDef in a file; one that holds none raises ConfigurationError."""
    try:
        return tf.compat.v1.GraphDef.FromString(path.read_bytes())
    except DecodeError as error:
        raise ConfigurationError(
            f"{path} is no frozen graph: name a .pb file as retrain writes it, or a model's folder"
        ) from error
