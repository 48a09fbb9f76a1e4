"""From a request's Input to serialised tf.Examples, and one run of a graph over them.

Follows `servables/tensorflow/util.cc`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.grpc_status import invalid_argument
from serving.models.servable import Servable


@dataclass(frozen=True)
class ExampleGraph:
    """The tensors of one or more signatures that take serialised Examples."""

    feeds: Sequence[str]
    fetches: Sequence[str]


@dataclass(frozen=True)
class ExampleOutputs:
    """What a graph made of some Examples."""

    count: int
    """How many Examples were fed."""
    arrays: Mapping[str, NDArray[Any]]
    """Tensor name -> array."""


def run_examples(
    model: Servable, graph: ExampleGraph, examples: Any, timeout_seconds: float | None
) -> ExampleOutputs:
    """Run a graph once over all Examples of an Input.

    Raises:
        StatusError: there are none, or the model refuses them.
    """
    serialized = serialized_examples(examples)
    feeds = dict.fromkeys(graph.feeds, serialized)
    arrays = model.run(feeds, graph.fetches, timeout_seconds)
    return ExampleOutputs(len(serialized), dict(zip(graph.fetches, arrays, strict=True)))


def serialized_examples(examples: Any) -> NDArray[Any]:
    """The Examples of an Input, each serialised, its context before it; [count], `bytes`.

    Bytes of two messages one after the other parse as the two merged: a feature that both have
    is the Example's own.

    Raises:
        StatusError: INVALID_ARGUMENT, there are none.
    """
    kind = examples.WhichOneof("kind")
    listed = getattr(examples, kind).examples if kind else ()
    if not listed:
        raise invalid_argument("Input is empty.")
    context = b""
    if kind == "example_list_with_context":
        context = examples.example_list_with_context.context.SerializeToString()
    serialized = np.empty(len(listed), object)
    serialized[:] = [context + example.SerializeToString() for example in listed]
    return serialized
