"""A head for TFLite, which has no products in float64, and its precision where weights are 8 bits.

Standardisation is folded into a head's weights, so those of one output differ by orders of
magnitude, and 8 bits of the largest leave little of the others. So a product with weights W is
computed as two, W = coarse + fine: `coarse` is W on the grid of its 8 bits, just what a converter
would keep, and `fine` what that loses, with a finer grid of its own. Together they have some 16
bits, and the head alone is twice as large.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from linnaeus.signatures import EMBEDDING

STEPS = 127
"""The largest 8-bit weight; the smallest is its negative."""

Nodes: TypeAlias = dict[str, NodeDef]


class SmallHead:
    """The signature `embedding` of a loaded model in float32, or ready for 8 bits."""

    def __init__(self, loaded: Any, in_bytes: bool) -> None:
        signature = loaded.signatures[EMBEDDING]
        size = signature.structured_input_signature[1][EMBEDDING].shape[1]
        embedding = tf.TensorSpec([1, size], tf.float32, name=EMBEDDING)

        def scores(embedding: tf.Tensor) -> tf.Tensor:
            return signature(embedding=embedding)["scores"]

        function = tf.function(scores, input_signature=[embedding]).get_concrete_function()
        frozen = convert_variables_to_constants_v2(function)
        self._graph = frozen.graph.as_graph_def()
        self._output = frozen.outputs[0].name
        in_float32(self._graph)
        if in_bytes:
            two_products(self._graph)

    def __call__(self, embedding: tf.Tensor) -> tf.Tensor:
        """Scores [1, C] of an embedding [1, D]."""
        (scores,) = tf.graph_util.import_graph_def(
            self._graph, input_map={EMBEDDING: embedding}, return_elements=[self._output]
        )
        return scores


def in_float32(graph: GraphDef) -> None:
    """Computes in float32 whatever is computed in float64."""
    for attribute in (value for node in graph.node for value in node.attr.values()):
        if attribute.type == tf.float64.as_datatype_enum:
            attribute.type = tf.float32.as_datatype_enum
        if attribute.tensor.dtype == tf.float64.as_datatype_enum:
            values = tf.make_ndarray(attribute.tensor).astype(np.float32)
            attribute.tensor.CopyFrom(tf.make_tensor_proto(values))


def two_products(graph: GraphDef) -> None:
    """Computes every sum of a bias and a product with constant weights as coarse and fine.

    The bias stays with the coarse product: the two large numbers make a small one, which 8 bits
    hold.
    """
    nodes: Nodes = {node.name: node for node in graph.node}
    for total, product in list(_sums(graph, nodes)):
        weights = tf.make_ndarray(_source(nodes, product.input[1]).attr["value"].tensor)
        coarse, fine = (
            _copy(graph, product, name, 1, _constant(graph, f"{product.name}/{name}/weights", part))
            for name, part in zip(("coarse", "fine"), split(weights), strict=True)
        )
        biased = _copy(graph, total, "coarse", 0, coarse)
        total.input[:] = [biased, fine]


def split(weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [inputs, outputs] as a sum, of which the first is exact in 8 bits an output."""
    step = np.abs(weights).max(axis=0) / STEPS
    step = np.maximum(step, np.finfo(np.float32).tiny)
    coarse = (np.rint(weights / step) * step).astype(np.float32)
    return coarse, weights - coarse


def _sums(graph: GraphDef, nodes: Nodes) -> Iterator[tuple[NodeDef, NodeDef]]:
    """Every addition to a product with constant weights [inputs, outputs], and the product."""
    for total in graph.node:
        if total.op == "AddV2":
            product = _source(nodes, total.input[0])
            if product.op == "MatMul" and _source(nodes, product.input[1]).op == "Const":
                yield total, product


def _source(nodes: Nodes, name: str) -> NodeDef:
    """The node behind a name, or behind the identities there."""
    node = nodes[name.partition(":")[0]]
    return _source(nodes, node.input[0]) if node.op == "Identity" else node


def _copy(graph: GraphDef, node: NodeDef, name: str, position: int, source: str) -> str:
    """A node like another, but for one input; its name."""
    copy = graph.node.add()
    copy.CopyFrom(node)
    copy.name = f"{node.name}/{name}"
    copy.input[position] = source
    return str(copy.name)


def _constant(graph: GraphDef, name: str, values: NDArray[np.float32]) -> str:
    node = graph.node.add(op="Const", name=name)
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
    return name
