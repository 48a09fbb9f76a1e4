"""What MultiInference does between a request and its answer: several signatures, one run.

Follows `servables/tensorflow/multi_inference.cc`.
"""

from typing import Any

import grpc
from tensorflow_serving.apis import inference_pb2

from serving.grpc_status import StatusError, invalid_argument
from serving.inference import classify, regress
from serving.inference.examples import ExampleGraph, run_examples
from serving.inference.options import AS_STOCK, InferenceOptions
from serving.inference.signatures import signature_name, spec_of_answer
from serving.models.servable import Servable


def answer(
    model: Servable,
    request: inference_pb2.MultiInferenceRequest,
    timeout_seconds: float | None = None,
    options: InferenceOptions = AS_STOCK,
) -> inference_pb2.MultiInferenceResponse:
    """Run all tasks at once; ModelSpecs lack the version, which a model does not know.

    Raises:
        StatusError: a task does not fit the model or the others, or the model refuses the run.
    """
    graph = _common_graph(model, request.tasks, options)
    outputs = run_examples(model, graph, request.input, timeout_seconds)
    response = inference_pb2.MultiInferenceResponse()
    for task in request.tasks:
        result = response.results.add(model_spec=spec_of_answer(task.model_spec))
        signature = model.signatures[result.model_spec.signature_name]
        if task.method_name == classify.METHOD_NAME:
            result.classification_result.CopyFrom(classify.result_of(signature, outputs))
        else:
            result.regression_result.CopyFrom(regress.result_of(signature, outputs))
    return response


def _common_graph(model: Servable, tasks: Any, options: InferenceOptions) -> ExampleGraph:
    graphs: dict[str, ExampleGraph] = {}
    for task in tasks:
        _check_name(task.model_spec, tasks[0].model_spec)
        name = signature_name(task.model_spec)
        if name in graphs:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        graphs[name] = _graph(model, name, task.method_name, options)
    fetches = {fetch for graph in graphs.values() for fetch in graph.fetches}
    feeds = {feed for graph in graphs.values() for feed in graph.feeds}
    return ExampleGraph(sorted(feeds), sorted(fetches))


def _check_name(model_spec: Any, first: Any) -> None:
    if not model_spec.name:
        raise invalid_argument("Found ModelSpec with an empty model name.")
    if model_spec.name != first.name:
        raise invalid_argument(
            "All ModelSpecs in a MultiInferenceRequest must access the same model name."
        )


def _graph(model: Servable, name: str, method_name: str, options: InferenceOptions) -> ExampleGraph:
    # `in` first: looking up an absent key of a message map inserts it.
    if name not in model.signatures:
        raise invalid_argument(f"Requested signature not found in model graph: {name}")
    if method_name == classify.METHOD_NAME:
        return classify.graph_of(model.signatures[name], options)
    if method_name == regress.METHOD_NAME:
        return regress.graph_of(model.signatures[name], options)
    raise StatusError(
        grpc.StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {method_name}"
    )
