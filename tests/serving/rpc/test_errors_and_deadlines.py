"""What a model's failures become, and how long it may take, over gRPC and REST."""

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from tests.serving.stub_models import StubCatalog, StubModel

pytestmark = pytest.mark.slow


@pytest.fixture
def model() -> StubModel:
    return StubModel()


@pytest.fixture
def stub(model: StubModel) -> Iterator[Any]:
    with serving(model) as stub:
        yield stub


@contextmanager
def serving(model: StubModel) -> Iterator[Any]:
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    from serving.rpc.prediction_service import PredictionService

    server = grpc.server(ThreadPoolExecutor(2))
    catalog: Any = StubCatalog(model)
    service = PredictionService(catalog)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)
    server.stop(0).wait()


@pytest.fixture
def rest(model: StubModel) -> Iterator[http.client.HTTPConnection]:
    from serving.rest.server import RestOptions, RestServer

    catalog: Any = StubCatalog(model)
    server = RestServer(catalog, "127.0.0.1", 0, RestOptions(timeout_seconds=7.5))
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    yield connection
    connection.close()
    server.stop(grace_seconds=1)


def request() -> Any:
    from tensorflow_serving.apis import predict_pb2

    tensor = {"dtype": 1, "float_val": [1.0], "tensor_shape": {"dim": [{"size": 1}]}}
    return predict_pb2.PredictRequest(model_spec={"name": "m"}, inputs={"x": tensor})


def post(rest: http.client.HTTPConnection) -> tuple[int, Any]:
    rest.request("POST", "/v1/models/m:predict", '{"instances": [1.0]}')
    response = rest.getresponse()
    return response.status, json.loads(response.read())


def test_the_time_that_a_client_waits_is_the_time_that_a_model_may_take(
    stub: Any, model: StubModel
):
    stub.Predict(request(), timeout=15)
    stub.Predict(request())
    [told, untold] = model.timeouts
    assert told is not None
    assert 5 < told < 15.5  # gRPC rounds a deadline up when it sends it
    assert untold is None


def test_a_rest_request_has_the_servers_own_timeout(rest: Any, model: StubModel):
    assert post(rest) == (200, {"predictions": [1.0]})
    assert model.timeouts == [7.5]


def fails(error: Exception) -> Any:
    def act() -> None:
        raise error

    return act


def refusal(code: grpc.StatusCode, text: str) -> Exception:
    from serving.grpc_status import StatusError

    return StatusError(code, text)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.CANCELLED, 499),
        (grpc.StatusCode.UNKNOWN, 500),
        (grpc.StatusCode.INVALID_ARGUMENT, 400),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.ALREADY_EXISTS, 409),
        (grpc.StatusCode.PERMISSION_DENIED, 403),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.FAILED_PRECONDITION, 400),
        (grpc.StatusCode.ABORTED, 409),
        (grpc.StatusCode.OUT_OF_RANGE, 400),
        (grpc.StatusCode.UNIMPLEMENTED, 501),
        (grpc.StatusCode.INTERNAL, 500),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DATA_LOSS, 500),
        (grpc.StatusCode.UNAUTHENTICATED, 401),
    ],
)
def test_a_models_refusal_keeps_its_code_and_text(
    stub: Any, rest: Any, model: StubModel, code: grpc.StatusCode, status: int
):
    model.act = fails(refusal(code, "why\n\t [[{{node n}}]]"))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request(), timeout=15)
    assert (caught.value.code(), caught.value.details()) == (code, "why\n\t [[{{node n}}]]")
    assert post(rest) == (status, {"error": "why\n\t [[{{node n}}]]"})


@pytest.mark.parametrize(
    ("error", "code", "status", "text"),
    [
        (KeyError("secret"), grpc.StatusCode.INTERNAL, 500, "Internal error: KeyError"),
        (MemoryError(), grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "Out of memory"),
    ],
)
def test_an_error_that_nobody_foresaw_is_told_in_one_line(
    stub: Any,
    rest: Any,
    model: StubModel,
    error: Exception,
    code: grpc.StatusCode,
    status: int,
    text: str,
):
    model.act = fails(error)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request(), timeout=15)
    assert (caught.value.code(), caught.value.details()) == (code, text)
    assert post(rest) == (status, {"error": text})
    model.act = lambda: None
    assert post(rest)[0] == 200
    stub.Predict(request(), timeout=15)


def test_a_long_refusal_is_cut_over_grpc_alone(stub: Any, rest: Any, model: StubModel):
    model.act = fails(refusal(grpc.StatusCode.INVALID_ARGUMENT, "x" * 5000))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request(), timeout=15)
    assert caught.value.details() == "x" * 1024 + "...TRUNCATED"
    assert post(rest) == (400, {"error": "x" * 5000})
