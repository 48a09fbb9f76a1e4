"""What a REST request answers: the JSON text for a method, a path and a body.

Follows `model_servers/http_rest_api_handler.cc`.
"""

import json
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.inference import predict as predict_inference
from serving.inference.options import AS_STOCK, InferenceOptions
from serving.inference.signatures import signature_name
from serving.models.catalog import Catalog
from serving.rest import json_examples, json_inputs, json_outputs
from serving.rest.documents import parse_document, wrong_value
from serving.rest.routes import Route, route_of
from serving.rpc.model_service import model_status
from serving.rpc.prediction_service import SIGNATURES, classify, model_metadata, regress
from serving.status import invalid_argument

_INSTANCES = "instances"
_INPUTS = "inputs"
_SIGNATURE_NAME = "signature_name"


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
) -> str:
    """The JSON text that answers a request.

    Raises:
        StatusError: the request is refused.
    """
    route = route_of(request.method, request.path)
    if route.action == "status":
        return _status(catalog, route)
    if route.action == "metadata":
        return _metadata(catalog, route)
    try:
        document = parse_document(request.body)
        calls = {"predict": _predict, "classify": _classify, "regress": _regress}
        return calls[route.action](catalog, route, document, timeout_seconds, options)
    except RecursionError as error:
        raise invalid_argument("JSON Parse error: the document is nested too deeply") from error


def _predict(
    catalog: Catalog,
    route: Route,
    document: dict[str, Any],
    timeout_seconds: float | None,
    options: InferenceOptions,
) -> str:
    request = predict_pb2.PredictRequest()
    _fill_model_spec(request.model_spec, route, document)
    _, model = catalog.find(request)
    signature = _signature(model.signatures, request.model_spec)
    row_form = _is_row_form(document)
    columns = _columns(document, row_form, signature.inputs)
    predict_inference.check_method_name(signature, options)
    predict_inference.check_input_count(signature, columns)
    feeds = {signature.inputs[alias].name: array for alias, array in columns.items()}
    aliases = sorted(signature.outputs)
    names = {alias: signature.outputs[alias].name for alias in aliases}
    outputs = predict_inference.run(model, feeds, names, timeout_seconds)
    write = json_outputs.rows_document if row_form else json_outputs.columns_document
    return write(outputs)


def _classify(
    catalog: Catalog,
    route: Route,
    document: dict[str, Any],
    timeout_seconds: float | None,
    options: InferenceOptions,
) -> str:
    request = classification_pb2.ClassificationRequest()
    _fill_model_spec(request.model_spec, route, document)
    json_examples.fill_input(request.input, document)
    response = classify(catalog, request, timeout_seconds, options)
    return json_outputs.classifications_document(response.result)


def _regress(
    catalog: Catalog,
    route: Route,
    document: dict[str, Any],
    timeout_seconds: float | None,
    options: InferenceOptions,
) -> str:
    request = regression_pb2.RegressionRequest()
    _fill_model_spec(request.model_spec, route, document)
    json_examples.fill_input(request.input, document)
    response = regress(catalog, request, timeout_seconds, options)
    return json_outputs.regressions_document(response.result)


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


def _fill_model_spec(model_spec: Any, route: Route, document: dict[str, Any]) -> None:
    route.fill(model_spec)
    name = document.get(_SIGNATURE_NAME, "")
    if not isinstance(name, str):
        raise wrong_value(
            document, f"not formatted correctly. '{_SIGNATURE_NAME}' key must be a string value."
        )
    model_spec.signature_name = name


def _signature(signatures: Any, model_spec: Any) -> Any:
    name = signature_name(model_spec)
    # `in` first: looking up an absent key of a message map inserts it.
    if name not in signatures:
        raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
    if not signatures[name].inputs:
        raise invalid_argument(
            f"Failed to get input map for signature: {model_spec.signature_name or 'DEFAULT'}"
        )
    return signatures[name]


def _is_row_form(document: dict[str, Any]) -> bool:
    if _INSTANCES not in document and _INPUTS not in document:
        raise invalid_argument(f"Missing '{_INPUTS}' or '{_INSTANCES}' key")
    if _INSTANCES in document and _INPUTS in document:
        raise wrong_value(
            document,
            f"Not formatted correctly expecting only one of '{_INPUTS}' or '{_INSTANCES}' keys"
            " to exist ",
        )
    return _INSTANCES in document


def _columns(document: dict[str, Any], row_form: bool, inputs: Any) -> Any:
    types = {alias: inputs[alias].dtype for alias in sorted(inputs)}
    if not row_form:
        return json_inputs.columns_of_inputs(document[_INPUTS], types)
    instances = document[_INSTANCES]
    if not isinstance(instances, list):
        raise wrong_value(document, f"Excepting '{_INSTANCES}' to be an list/array")
    if not instances:
        raise wrong_value(document, f"No values in '{_INSTANCES}' array")
    return json_inputs.columns_of_instances(instances, types)
