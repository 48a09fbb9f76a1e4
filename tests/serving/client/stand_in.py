"""A real gRPC server whose Predict is a function of the test."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np

from serving.protocol import tensors, wire

Predict = Callable[[Any, grpc.ServicerContext], Any]


def answer(request: Any, version: int = 7, labels: tuple[str, ...] = ("cat", "dog")) -> Any:
    """What a model that is always equally sure would say of each row."""
    return as_answer(said(request, labels), version)


def said(request: Any, labels: tuple[str, ...] = ("cat", "dog")) -> dict[str, np.ndarray]:
    """The same as arrays."""
    (tensor,) = request.inputs.values()
    rows = tensor.tensor_shape.dim[0].size
    top = [label.encode() for label in labels]
    scores = [0.75, 0.25, *[0.0] * (len(top) - 2)]
    return {
        "label": np.array(top[:1] * rows, object),
        "confidence": np.full(rows, 0.75, "float32"),
        "top_labels": np.array([top] * rows, object),
        "top_scores": np.array([scores] * rows, "float32"),
    }


def as_answer(outputs: dict[str, np.ndarray], version: int = 7) -> Any:
    """Outputs as a server answers them."""
    response = wire.PredictResponse()
    response.model_spec.version.value = version
    for name, array in outputs.items():
        tensors.fill_values(response.outputs[name], array)
    return response


@contextmanager
def serving(
    predict: Predict,
    status: Predict | None = None,
    address: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[str]:
    """Serve on a free port, or another address, for the length of the context."""
    server = grpc.server(ThreadPoolExecutor(32))
    methods = {"PredictionService": {"Predict": _handler(predict, "Predict")}}
    if status:
        methods["ModelService"] = {"GetModelStatus": _handler(status, "GetModelStatus")}
    for service, handlers in methods.items():
        generic = grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", handlers)
        server.add_generic_rpc_handlers([generic])
    if credentials:
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    server.start()
    try:
        yield address.replace(":0", f":{port}")
    finally:
        server.stop(0).wait()


def _handler(method: Predict, name: str) -> grpc.RpcMethodHandler:
    request = {"Predict": wire.PredictRequest, "GetModelStatus": wire.GetModelStatusRequest}[name]
    response = {"Predict": wire.PredictResponse, "GetModelStatus": wire.GetModelStatusResponse}
    return grpc.unary_unary_rpc_method_handler(
        method, request.FromString, response[name].SerializeToString
    )
