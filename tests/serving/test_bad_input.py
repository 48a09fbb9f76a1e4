"""Whatever comes over the wire, the server answers the next request."""

import concurrent.futures
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from linnaeus.storage import Folder
from linnaeus.training.evaluation.decisions import DecisionRule
from serving.protocol import tensors, wire
from tests import colour_model, pictures

pytestmark = pytest.mark.slow

SECONDS = 30.0
MEGABYTES_200 = 200_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A model that `linnaeus` exports, over gRPC and REST."""
    from serving.server import EmbeddedServer

    workspace = Folder(str(tmp_path_factory.mktemp("workspace")))
    model = colour_model.publish(workspace, DecisionRule(colour_model.LABELS))
    base = workspace.uri_of(f"models/{model.name}")
    with EmbeddedServer({model.name: base}, rest_api_port=0) as server:
        yield server


@pytest.fixture
def predict(server: Any) -> Iterator[Callable[..., Any]]:
    """Sends pictures over gRPC."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        method = channel.unary_unary(
            wire.PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )
        yield lambda *data: method(request(*data), timeout=SECONDS)


@pytest.fixture(autouse=True)
def still_serving(predict: Callable[..., Any], server: Any) -> Iterator[None]:
    """After each test a good request is answered, over gRPC and over REST."""
    yield
    response = predict(pictures.jpeg())
    assert len(response.outputs["label"].string_val) == 1
    url = f"http://{server.host}:{server.rest_api_port}/v1/models/{colour_model.NAME}"
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        assert json.load(answer)["model_version_status"][0]["state"] == "AVAILABLE"


def request(*data: bytes) -> Any:
    message = wire.PredictRequest()
    message.model_spec.name = colour_model.NAME
    tensors.fill_content(message.inputs["image_bytes"], np.array([*data, b""], object)[:-1])
    return message


def refused(call: Callable[[], Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert "Traceback" not in caught.value.details()
    return caught.value.code()


def test_one_truncated_picture_fails_its_request_and_no_other(predict: Callable[..., Any]):
    good, cut = pictures.jpeg(), pictures.jpeg()[:-200]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        bad = [pool.submit(refused, lambda: predict(good, cut, good)) for _ in range(8)]
        fine = [pool.submit(predict, good, good) for _ in range(8)]
        assert {one.result() for one in bad} == {grpc.StatusCode.INVALID_ARGUMENT}
        assert all(len(one.result().outputs["label"].string_val) == 2 for one in fine)


def test_no_pictures_at_all_have_no_labels(predict: Callable[..., Any]):
    assert len(predict().outputs["label"].string_val) == 0


@pytest.mark.parametrize(
    ("signature", "alias", "array"),
    [
        ("pixels", "pixels", np.zeros((8, 8, 3), "uint8")),
        ("pixels", "pixels", np.zeros((1, 1, 8, 8, 3), "uint8")),
        ("pixels", "pixels", np.zeros((1, 1, 1, 3), "uint8")),
        ("embedding", "embedding", np.zeros(192, "float32")),
        ("embedding", "embedding", np.zeros((1, 1, 192), "float32")),
        ("serving_default", "image_bytes", np.array(b"", object)),
        ("serving_default", "image_bytes", np.array([[b""]], object)),
        ("classify", "inputs", np.array([[b""]], object)),
    ],
)
def test_an_array_of_another_shape_than_the_signature_has_is_refused(
    server: Any, signature: str, alias: str, array: Any
):
    message = wire.PredictRequest(
        model_spec={"name": colour_model.NAME, "signature_name": signature}
    )
    tensors.fill_content(message.inputs[alias], array)
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(wire.PREDICT)(message.SerializeToString(), timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"signature {signature} input shape is wrong" in caught.value.details()


def test_a_few_bytes_that_mean_millions_of_pictures_are_refused(server: Any):
    message = wire.PredictRequest(model_spec={"name": colour_model.NAME})
    message.inputs["image_bytes"].dtype = 7
    message.inputs["image_bytes"].tensor_shape.dim.add(size=10_000_000)
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(wire.PREDICT)(message.SerializeToString(), timeout=SECONDS)
    assert caught.value.details() == "tensor parsing error: image_bytes"


def test_a_message_of_200_megabytes_is_read_and_refused_for_its_content(
    predict: Callable[..., Any],
):
    assert refused(lambda: predict(bytes(MEGABYTES_200))) == grpc.StatusCode.INVALID_ARGUMENT


def test_a_body_of_200_megabytes_is_refused_for_its_size(server: Any):
    url = f"http://{server.host}:{server.rest_api_port}/v1/models/{colour_model.NAME}:predict"
    body = b'{"instances": [{"b64": "' + b"A" * MEGABYTES_200 + b'"}]}'
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=SECONDS)
    assert caught.value.code == 413
    assert "error" in json.load(caught.value)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: %d" % 10**14, b"Transfer-Encoding: chunked\r\n\r\n%x" % 10**14]
)
def test_a_body_that_is_promised_to_be_vast_is_refused_before_it_comes(server: Any, framing: bytes):
    started = time.monotonic()
    with socket.create_connection((server.host, server.rest_api_port), SECONDS) as connection:
        connection.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"rest_api_max_body_bytes" in answer
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("port", ["port", "rest_api_port"])
@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(1000),
        bytes(70_000),
    ],
    ids=["tls", "http1", "http2", "zeros"],
)
def test_garbage_on_a_port_is_dropped(server: Any, port: str, garbage: bytes):
    with socket.create_connection((server.host, getattr(server, port)), SECONDS) as connection:
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
        except OSError as error:
            assert not isinstance(error, TimeoutError)


@pytest.mark.parametrize("port", ["port", "rest_api_port"])
@pytest.mark.parametrize("half_close", [False, True], ids=["slow", "half-closed"])
def test_many_idle_connections_hold_up_nobody(
    server: Any, predict: Callable[..., Any], port: str, half_close: bool
):
    beginnings = {"port": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "rest_api_port": b"POST /v1/mod"}
    idle = [
        socket.create_connection((server.host, getattr(server, port)), SECONDS) for _ in range(64)
    ]
    try:
        for connection in idle:
            connection.sendall(beginnings[port])
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        assert len(predict(pictures.jpeg()).outputs["label"].string_val) == 1
    finally:
        for connection in idle:
            connection.close()
