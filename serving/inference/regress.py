"""What Regress does between a request and its answer, in TensorFlow Serving's order and words.

Follows `servables/tensorflow/regressor.cc`.
"""

from typing import Any

import numpy as np
from tensorflow_serving.apis import regression_pb2

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

METHOD_NAME = "tensorflow/serving/regress"

_INPUTS = "inputs"
_OUTPUTS = "outputs"


def answer(
    model: Servable,
    request: regression_pb2.RegressionRequest,
    timeout_seconds: float | None = None,
    options: InferenceOptions = AS_STOCK,
) -> regression_pb2.RegressionResponse:
    """A value an Example; the answer's ModelSpec lacks the version, which a model does not know.

    Raises:
        StatusError: the request does not fit the model, or the model refuses it.
    """
    signature = signature_of_examples(model, request.model_spec)
    outputs = run_examples(model, graph_of(signature, options), request.input, timeout_seconds)
    return regression_pb2.RegressionResponse(
        result=result_of(signature, outputs), model_spec=spec_of_answer(request.model_spec)
    )


def graph_of(signature: Any, options: InferenceOptions = AS_STOCK) -> ExampleGraph:
    """The tensors of a signature that regresses.

    Raises:
        StatusError: INVALID_ARGUMENT, it cannot regress.
    """
    check_takes_examples(signature, METHOD_NAME, "regression", options)
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {signature}")
    if _OUTPUTS not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
    return ExampleGraph([signature.inputs[_INPUTS].name], [signature.outputs[_OUTPUTS].name])


def result_of(signature: Any, outputs: ExampleOutputs) -> regression_pb2.RegressionResult:
    """One value an Example, from an output of shape [count] or [count, 1].

    Raises:
        StatusError: INVALID_ARGUMENT, the graph's output is not of that form.
    """
    array = outputs.arrays[signature.outputs[_OUTPUTS].name]
    if array.ndim != 1 and array.shape[1:] != (1,):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got"
            f" {shape_text(array)}"
        )
    if len(array) != outputs.count:
        raise invalid_argument(
            f"Input batch size did not match output batch size: {outputs.count} vs. {len(array)}"
        )
    if array.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {type_text(array)}")
    result = regression_pb2.RegressionResult()
    for value in array.ravel().tolist():
        result.regressions.add(value=value)
    return result
