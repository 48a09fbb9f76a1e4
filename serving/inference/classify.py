"""What Classify does between a request and its answer, in TensorFlow Serving's order and words.

Follows `servables/tensorflow/classifier.cc`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow_serving.apis import classification_pb2

from serving.grpc_status import invalid_argument
from serving.inference.examples import ExampleGraph, ExampleOutputs, run_examples
from serving.inference.options import AS_STOCK, InferenceOptions
from serving.inference.signatures import (
    check_takes_examples,
    shape_text,
    signature_of_examples,
    spec_of_answer,
    type_text,
)
from serving.models.servable import Servable

METHOD_NAME = "tensorflow/serving/classify"

_INPUTS = "inputs"
_CLASSES = "classes"
_SCORES = "scores"


def answer(
    model: Servable,
    request: classification_pb2.ClassificationRequest,
    timeout_seconds: float | None = None,
    options: InferenceOptions = AS_STOCK,
) -> classification_pb2.ClassificationResponse:
    """Classify Examples; the answer's ModelSpec lacks the version, which a model does not know.

    Raises:
        StatusError: the request does not fit the model, or the model refuses it.
    """
    signature = signature_of_examples(model, request.model_spec)
    outputs = run_examples(model, graph_of(signature, options), request.input, timeout_seconds)
    return classification_pb2.ClassificationResponse(
        result=result_of(signature, outputs), model_spec=spec_of_answer(request.model_spec)
    )


def graph_of(signature: Any, options: InferenceOptions = AS_STOCK) -> ExampleGraph:
    """The tensors of a signature that classifies.

    Raises:
        StatusError: INVALID_ARGUMENT, it cannot classify.
    """
    check_takes_examples(signature, METHOD_NAME, "classification", options)
    if len(signature.outputs) not in {1, 2}:
        raise invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    if _INPUTS not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature}")
    aliases = [alias for alias in (_CLASSES, _SCORES) if alias in signature.outputs]
    if not aliases:
        raise invalid_argument(
            "Expected classification signature outputs to contain at least one of"
            f' "{_CLASSES}" or "{_SCORES}". Signature was: {signature}'
        )
    fetches = [signature.outputs[alias].name for alias in aliases]
    return ExampleGraph([signature.inputs[_INPUTS].name], fetches)


def result_of(signature: Any, outputs: ExampleOutputs) -> classification_pb2.ClassificationResult:
    """Classes with labels, scores or both, one list an Example.

    Raises:
        StatusError: INVALID_ARGUMENT, the graph's outputs are not of that form.
    """
    classes = _checked(signature, outputs, _CLASSES)
    scores = _checked(signature, outputs, _SCORES)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). Got"
            f" {classes.shape[1]} vs. {scores.shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    for row in range(outputs.count):
        _add_classes(
            result.classifications.add(),
            None if classes is None else classes[row],
            None if scores is None else scores[row],
        )
    return result


def _checked(signature: Any, outputs: ExampleOutputs, alias: str) -> NDArray[Any] | None:
    if alias not in signature.outputs:
        return None
    array = outputs.arrays[signature.outputs[alias].name]
    if array.ndim != 2:
        raise invalid_argument(
            f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array)}"
        )
    dtype, name = (np.object_, "DT_STRING") if alias == _CLASSES else (np.float32, "DT_FLOAT")
    if array.dtype != dtype:
        raise invalid_argument(f"Expected {alias} Tensor of {name}. Got: {type_text(array)}")
    if len(array) != outputs.count:
        raise invalid_argument(
            f"Expected {alias} output batch size of {outputs.count}. Got: {len(array)}"
        )
    return array


def _add_classes(
    classifications: Any, labels: NDArray[Any] | None, scores: NDArray[Any] | None
) -> None:
    count = len(scores) if labels is None else len(labels)  # type: ignore[arg-type]
    added = [classifications.classes.add() for _ in range(count)]
    if labels is not None:
        for entry, label in zip(added, labels, strict=True):
            # The field is text; a client could not parse other bytes.
            entry.label = label.decode(errors="replace")
    if scores is not None:
        for entry, score in zip(added, scores.tolist(), strict=True):
            entry.score = score
