"""TensorFlow Serving's REST interface: predict and model status."""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

from serving.inference.predict import signature_name
from serving.models.catalog import Catalog
from serving.protocol import tensors
from serving.rest import json_tensors
from serving.rest.monitoring import Record, recorded
from serving.rpc.model_service import model_status
from serving.rpc.prediction_service import predict
from serving.status import StatusError, invalid_argument

IDLE_SECONDS = 120.0

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(_MODEL + r":(?P<method>predict|classify|regress)", re.IGNORECASE)
_STATUS = re.compile(_MODEL, re.IGNORECASE)

_HTTP_STATUS = {
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
}


@dataclass(frozen=True)
class RestOptions:
    """How REST is spoken.

    Args:
        timeout_seconds: how long a call may take.
        monitoring_path: where metrics are read; None for nowhere.
        monitoring: gives the metrics, in Prometheus' text form.
        record: told of each inference.
    """

    timeout_seconds: float | None = 30.0
    monitoring_path: str | None = None
    monitoring: Callable[[], bytes] | None = None
    record: Record | None = None


class RestServer:
    """HTTP/1.1 with a thread a connection."""

    def __init__(
        self, catalog: Catalog, host: str, port: int, options: RestOptions | None = None
    ) -> None:
        self._server = _HttpServer((host, port), _handler(catalog, options or RestOptions()))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="rest", daemon=True
        )
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        """Take no more connections, and let requests under way finish within the grace."""
        self._server.shutdown()
        self._server.server_close()
        give_up_at = time.monotonic() + grace_seconds
        while self._server.busy and time.monotonic() < give_up_at:
            time.sleep(0.02)


class _HttpServer(ThreadingHTTPServer):
    # Threads of idle connections would otherwise hold up the end of the process.
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.busy = 0
        self.counting = threading.Lock()


def answer_rest(catalog: Catalog, method: str, path: str, read_body: Callable[[], bytes]) -> Any:
    """The JSON value that answers a request.

    Raises:
        StatusError: the request is refused.
    """
    if method == "POST" and (match := _CALL.fullmatch(path)):
        if match["method"].lower() != "predict":
            raise StatusError(
                grpc.StatusCode.UNIMPLEMENTED, f"{match['method']} is not served here"
            )
        return _predict(catalog, match, read_body())
    if method == "GET" and (match := _STATUS.fullmatch(path)):
        return _status(catalog, match)
    raise invalid_argument(f"Malformed request: {method} {path}")


def _predict(catalog: Catalog, match: re.Match[str], body: bytes) -> Any:
    document = _parsed(body)
    request = predict_pb2.PredictRequest()
    _fill_model_spec(request.model_spec, match)
    request.model_spec.signature_name = _signature_name(document)
    row_form = _is_row_form(document)
    _fill_inputs(catalog, request, document, row_form)
    response = predict(catalog, request)
    outputs = {name: tensors.to_array(response.outputs[name]) for name in sorted(response.outputs)}
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    if row_form:
        return {"predictions": json_tensors.outputs_to_rows(outputs)}
    return {"outputs": json_tensors.outputs_to_columns(outputs)}


def _status(catalog: Catalog, match: re.Match[str]) -> Any:
    request = get_model_status_pb2.GetModelStatusRequest()
    _fill_model_spec(request.model_spec, match)
    return json_format.MessageToDict(
        model_status(catalog, request),
        always_print_fields_with_no_presence=True,
        preserving_proto_field_name=True,
    )


def _fill_model_spec(spec: Any, match: re.Match[str]) -> None:
    spec.name = match["name"]
    if match["label"]:
        spec.version_label = match["label"]
    if match["version"]:
        try:
            spec.version.value = int(match["version"])
        except ValueError as error:
            raise invalid_argument(
                f"Failed to convert version: {match['version']} to numeric."
            ) from error


def _parsed(body: bytes) -> dict[str, Any]:
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid_argument(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid_argument("JSON Value: Is not object")
    return document


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            "JSON Value: not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def _is_row_form(document: dict[str, Any]) -> bool:
    if "instances" in document and "inputs" in document:
        raise invalid_argument(
            "JSON Value: Not formatted correctly expecting only one of 'inputs' or 'instances'"
            " keys to exist "
        )
    if "instances" not in document and "inputs" not in document:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    return "instances" in document


def _fill_inputs(
    catalog: Catalog,
    request: predict_pb2.PredictRequest,
    document: dict[str, Any],
    row_form: bool,
) -> None:
    infos = _input_infos(catalog, request)
    if row_form:
        columns = json_tensors.rows_to_columns(document["instances"], sorted(infos))
    else:
        columns = json_tensors.named_columns(document["inputs"], sorted(infos))
    for name, value in columns.items():
        array = json_tensors.to_array(value, tensors.dtype_of(infos[name].dtype))
        tensors.fill_content(request.inputs[name], array)


def _input_infos(catalog: Catalog, request: predict_pb2.PredictRequest) -> Any:
    _, model = catalog.find(request)
    name = signature_name(request.model_spec)
    if name not in model.signatures:
        raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
    infos = model.signatures[name].inputs
    if not infos:
        raise invalid_argument(f"Failed to get input map for signature: {name}")
    return infos


def _handler(catalog: Catalog, options: RestOptions) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = IDLE_SECONDS
        server: _HttpServer

        def do_GET(self) -> None:
            self._respond()

        def do_POST(self) -> None:
            self._respond()

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _respond(self) -> None:
            with self.server.counting:
                self.server.busy += 1
            try:
                if options.monitoring and self.path == options.monitoring_path:
                    self._send_body(HTTPStatus.OK, "text/plain", options.monitoring())
                else:
                    self._send(*self._answer())
            finally:
                with self.server.counting:
                    self.server.busy -= 1

        def _answer(self) -> tuple[HTTPStatus, Any]:
            path = self.path.partition("?")[0]
            if not path.lower().startswith("/v1/"):
                return HTTPStatus.NOT_FOUND, {"error": "Not Found"}
            try:
                with recorded(options.record, path):
                    return HTTPStatus.OK, answer_rest(catalog, self.command, path, self._body)
            except StatusError as error:
                status = _HTTP_STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
                return status, {"error": error.text}
            except Exception as error:  # a connection must be answered whatever happens
                return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)}

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _send(self, status: HTTPStatus, value: Any) -> None:
            self._send_body(status, "application/json", json.dumps(value).encode())

        def _send_body(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
