"""A model server of `tests.colour_model` over a real socket that tells the truth, until it lies.

What the skew gate asks is answered truly, so that a run gets as far as its rows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from linnaeus import images
from linnaeus.errors import ImageError
from linnaeus.training.evaluation.decisions import DecisionRule, scores_of
from serving.protocol import tensors, wire
from tests import colour_model
from tests.colour_model import LABELS, NAME, SIZE
from tests.serving.client.stand_in import as_answer, serving

Outputs = dict[str, np.ndarray]
Lie = Callable[[Outputs, Any], Any]
"""From true outputs and the context of a call to others, or to a whole response."""


class Refusal(Exception):  # noqa: N818 - what is the case
    """A code of gRPC, with which a request ends."""


@dataclass
class Hostile:
    """Version 1 of the colour model."""

    lie: Lie = lambda outputs, context: outputs
    rule: DecisionRule = field(default_factory=lambda: DecisionRule(LABELS))
    asked: int = 0
    """Requests for labels."""

    def predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            outputs = self.truth(request)
        except ImageError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Refusal as refusal:
            context.abort(grpc.StatusCode[str(refusal)], "no")
        if "confidence" in request.output_filter:
            self.asked += 1
            outputs = self.lie({name: outputs[name] for name in request.output_filter}, context)
        return outputs if isinstance(outputs, wire.PredictResponse) else as_answer(outputs, 1)

    def truth(self, request: Any) -> Outputs:
        [(name, tensor)] = request.inputs.items()
        rows = tensors.to_array(tensor)
        if name == "image_bytes":
            rows = np.stack([images.decode(row, SIZE, SIZE).pixels for row in rows])
        if name != "embedding":
            rows = rows.reshape(len(rows), -1).astype(np.float32) / 255
        scores = scores_of(colour_model.head().logits(rows), self.rule.task).astype(np.float32)
        said = self.rule.decide(scores)
        return {
            "embedding": rows,
            "scores": scores,
            "label": texts(said.label),
            "confidence": said.confidence,
            "top_labels": texts(said.top_labels),
            "top_scores": said.top_scores,
        }

    def status(self, request: Any, _: grpc.ServicerContext) -> Any:
        response = wire.GetModelStatusResponse()
        response.model_version_status.add(version=1, state=wire.STATE_AVAILABLE)
        return response

    @contextmanager
    def serving(self) -> Iterator[str]:
        with serving(self.predict, self.status) as address:
            yield address


def texts(words: list[Any]) -> np.ndarray:
    return np.char.encode(np.array(words)).astype(object)


def swapped(texts_: np.ndarray) -> np.ndarray:
    """Every `red` is `blue` and every `blue` is `red`."""
    other = {b"red": b"blue", b"blue": b"red"}
    return np.vectorize(lambda one: other.get(one, one), otypes=[object])(texts_)


def ending_in(text: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Each row's last text is another."""
    return lambda rows: np.array([[*row[:-1], text] for row in rows.tolist()], object)


def changing(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Lie:
    """A lie about one output."""
    return lambda outputs, _: outputs | {name: change(outputs[name])}


def changing_all(change: Callable[[np.ndarray], np.ndarray]) -> Lie:
    """The same lie about all outputs."""
    return lambda outputs, _: {name: change(array) for name, array in outputs.items()}


def aborting(code: str, words: str) -> Lie:
    """A refusal of every request."""
    return lambda _, context: context.abort(grpc.StatusCode[code], words)


def named(name: str, version: int) -> Lie:
    """The answer of another model or version."""

    def lie(outputs: Outputs, _: Any) -> Any:
        response = as_answer(outputs, version)
        response.model_spec.name = name
        return response

    return lie


def of_shape(name: str, *sizes: int) -> Lie:
    """An output that says to be larger than it is."""

    def lie(outputs: Outputs, _: Any) -> Any:
        response = as_answer(outputs, 1)
        shape = response.outputs[name].tensor_shape
        shape.Clear()
        for size in sizes:
            shape.dim.add(size=size)
        return response

    return lie


ANOTHER = NAME + "-of-somebody-else"
