"""What a REST request answers: the JSON text for a method, a path and a body.

Follows `model_servers/http_rest_api_handler.cc`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from serving.grpc_status import StatusError
from serving.inference import classify, predict, regress
from serving.inference.options import AS_STOCK, InferenceOptions
from serving.inference.signatures import signature_name
from serving.models.catalog import Catalog
from serving.rest import json_outputs, reading
from serving.rest.reading import Expected, Reading
from serving.rest.routes import Route, route_of
from serving.rpc.model_service import model_status
from serving.rpc.prediction_service import SIGNATURES, Infer, answer, model_metadata

Run = Callable[..., Any]
"""Given a size in bytes, a function and its arguments, returns what the function does."""

_CALLS_ON_EXAMPLES: dict[str, tuple[Any, Infer, Callable[[Any], str]]] = {
    "classify": (ClassificationRequest, classify.answer, json_outputs.classifications_document),
    "regress": (RegressionRequest, regress.answer, json_outputs.regressions_document),
}


@dataclass(frozen=True)
class Request:
    """What a client asks: a method, a path as it came, and a body."""

    method: str
    path: str
    body: bytes = b""


def answer_rest(
    catalog: Catalog,
    request: Request,
    timeout_seconds: float | None = None,
    options: InferenceOptions = AS_STOCK,
    run: Run = lambda _, work, *args: work(*args),
) -> str:
    """The JSON text that answers a request; `run` reads bodies and writes answers.

    Raises:
        StatusError: the request is refused.
    """
    route = route_of(request.method, request.path)
    if route.action == "status":
        return _status(catalog, route)
    if route.action == "metadata":
        return _metadata(catalog, route)
    call = _Call(catalog, route, request.body, timeout_seconds, options, run)
    return call.on_examples() if route.action in _CALLS_ON_EXAMPLES else call.predict()


@dataclass(frozen=True)
class _Call:
    """An inference that is asked for."""

    catalog: Catalog
    route: Route
    body: bytes
    timeout_seconds: float | None
    options: InferenceOptions
    run: Run

    def predict(self) -> str:
        request = predict_pb2.PredictRequest()
        self.route.fill(request.model_spec)
        try:
            _, model = self.catalog.find(request)
        except StatusError:
            # A body that is wrong is told before a model that is not there.
            self._read(None)
            raise
        read = self._read(_input_types(model.signatures))
        request.model_spec.signature_name = read.signature_name
        signature = model.signatures[signature_name(request.model_spec)]
        predict.check_method_name(signature, self.options)
        predict.check_input_count(signature, read.columns)
        feeds = {signature.inputs[alias].name: array for alias, array in read.columns.items()}
        names = {alias: signature.outputs[alias].name for alias in sorted(signature.outputs)}
        outputs = predict.run(model, feeds, names, self.timeout_seconds)
        write = json_outputs.rows_document if read.row_form else json_outputs.columns_document
        text: str = self.run(sum(array.nbytes for array in outputs.values()), write, outputs)
        return text

    def on_examples(self) -> str:
        message, infer, write = _CALLS_ON_EXAMPLES[self.route.action]
        read = self._read(reading.EXAMPLES)
        request = message()
        self.route.fill(request.model_spec)
        request.model_spec.signature_name = read.signature_name
        request.input.ParseFromString(read.input)
        return write(
            answer(infer, self.catalog, request, self.timeout_seconds, self.options).result
        )

    def _read(self, expected: Expected) -> Reading:
        found: Reading = self.run(len(self.body), reading.read, self.body, expected)
        return found


def _input_types(signatures: Any) -> reading.Signatures:
    return {
        name: {alias: signature.inputs[alias].dtype for alias in sorted(signature.inputs)}
        for name, signature in signatures.items()
    }


def _status(catalog: Catalog, route: Route) -> str:
    request = get_model_status_pb2.GetModelStatusRequest()
    route.fill(request.model_spec)
    return _printed(_plain(model_status(catalog, request)))


def _metadata(catalog: Catalog, route: Route) -> str:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[SIGNATURES])
    route.fill(request.model_spec)
    response = model_metadata(catalog, request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[SIGNATURES].Unpack(signatures)
    metadata = {SIGNATURES: _plain(signatures)}
    return _printed({"model_spec": _plain(response.model_spec), "metadata": metadata})


def _plain(message: Any) -> Any:
    return json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )


def _printed(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
