"""Paths, status, metadata and HTTP itself, over a socket."""

import gzip
import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.serving.stub_models import StubCatalog, StubModel

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/m:predict"
BODY = b'{"instances": [2.0]}'
ANSWER = {"predictions": [3.0]}


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/v1/models/m:guess", "{}", 400, "Malformed request: POST /v1/models/m:guess"),
        ("/v1/models/m:PREDICT", "{}", 400, "Malformed request: POST /v1/models/m:PREDICT"),
        ("/v1/models/m:predict?a=1", "{}", 400, "Malformed request: POST /v1/models/m:predict?a=1"),
        ("/v1/models/m", "{}", 400, "Malformed request: POST /v1/models/m"),
        ("/v1/", None, 400, "Malformed request: GET /v1/"),
        (PREDICT, None, 400, f"Malformed request: GET {PREDICT}"),
        ("/v1/models", None, 400, "Missing model name in request."),
        ("/v1/models/m/versions/7x", None, 400, "Malformed request: GET /v1/models/m/versions/7x"),
        (
            "/v1/models/m/versions/99999999999999999999",
            None,
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        ("/v1/models/M", None, 404, "Could not find any versions of model M"),
        ("/v1/models/m?x=1", None, 404, "Could not find any versions of model m?x=1"),
        ("/v1/models/a%20b%c3%a4", None, 404, "Could not find any versions of model a bä"),
        ("/v1/models/m/versions/7", None, 404, "Could not find version 7 of model m"),
        ("/v1/models/other/metadata", None, 404, "Servable not found for request: Latest(other)"),
        (
            "/v1/models/m/versions/7/metadata",
            None,
            404,
            "Servable not found for request: Specific(m, 7)",
        ),
        (
            "/v1/models/other:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Latest(other)",
        ),
        (
            "/v1/models/m/versions/7:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Specific(m, 7)",
        ),
        (
            "/v1/models/m/labels/stable:predict",
            {"instances": [1]},
            400,
            "Unrecognized servable version label: stable",
        ),
        (
            "/v1/models/m/labels/st%41ble/metadata",
            None,
            400,
            "Unrecognized servable version label: stAble",
        ),
    ],
)
def test_a_refusal_has_a_code_and_an_error_body(
    ask: Any, path: str, body: Any, status: int, text: str
):
    assert ask(path, body) == (status, {"error": text})


def test_an_error_is_laid_out_as_the_stock_server_lays_it_out(send: Any):
    answer = send("GET", "/v1/models")
    assert answer.body == b'{\n    "error": "Missing model name in request."\n}'


@pytest.mark.parametrize("path", ["/", "/v2/models/m", "/v1", "/metrics", "/v11/"])
def test_elsewhere_nothing_is_found(send: Any, path: str):
    answer = send("GET", path)
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "text/html"
    assert b"<TITLE>404 Not Found</TITLE>" in answer.body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_malformed_requests(send: Any, method: str):
    answer = send(method, PREDICT, BODY)
    assert answer.status == 400
    assert answer.json == {"error": f"Malformed request: {method} {PREDICT}"}
    assert send("POST", PREDICT, BODY).json == ANSWER


def test_head_has_no_body_and_unknown_methods_are_not_implemented(send: Any):
    assert (send("HEAD", "/v1/models/m").status, send("HEAD", "/v1/models/m").body) == (400, b"")
    assert send("BREW", "/v1/models/m").status == 501


def test_status_prints_default_fields_and_versions_as_strings(ask: Any):
    expected = {
        "model_version_status": [
            {
                "version": "123",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    for path in ("/v1/models/m", "/v1/models/m/versions/123", "/V1/Models/m/labels/any"):
        assert ask(path) == (200, expected)


def test_metadata_is_every_signature_with_default_fields(ask: Any):
    status, answer = ask("/v1/models/default/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "default", "signature_name": "", "version": "123"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["classify_x_to_y"] == {
        "inputs": {
            "inputs": {
                "dtype": "DT_STRING",
                "tensor_shape": {"dim": [], "unknown_rank": True},
                "name": "tf_example:0",
            }
        },
        "outputs": {
            "scores": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [], "unknown_rank": True},
                "name": "y:0",
            }
        },
        "method_name": "tensorflow/serving/classify",
        "defaults": {},
    }
    for path in (
        "/v1/models/default/versions/123/metadata",
        "/V1/MODELS/default/VERSIONS/123/metadata",
    ):
        assert ask(path) == (200, answer)


def test_a_word_in_capitals_at_the_end_is_found_but_not_known(ask: Any):
    # So is the stock server: a call is then malformed, and metadata is status.
    assert ask("/v1/models/m/METADATA") == ask("/v1/models/m")


def test_metadata_prints_sizes_as_strings(ask: Any):
    _, answer = ask("/v1/models/m/metadata")
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
        "unknown_rank": False,
    }


def test_a_connection_is_kept(connection: http.client.HTTPConnection, send: Any):
    assert send("POST", PREDICT, BODY).json == ANSWER
    kept = connection.sock
    assert send("POST", PREDICT, b"{").status == 400
    assert send("POST", PREDICT, BODY).json == ANSWER
    assert connection.sock is kept


def test_a_gzip_body_is_unzipped(send: Any):
    headers = {"Content-Encoding": "gzip"}
    assert send("POST", PREDICT, gzip.compress(BODY), headers).json == ANSWER


@pytest.mark.parametrize(
    "body",
    [BODY, gzip.compress(BODY)[:-9], gzip.compress(b" " * 2**27)],
    ids=["plain", "cut", "bomb"],
)
def test_a_gzip_body_that_is_broken_or_a_bomb_is_an_empty_one(send: Any, body: bytes):
    answer = send("POST", PREDICT, body, {"Content-Encoding": "gzip"})
    assert answer.status == 400
    assert answer.json == {"error": "JSON Parse error: The document is empty"}


@pytest.mark.parametrize("path", [PREDICT, "/elsewhere"])
@pytest.mark.parametrize("form", ["told", "chunked"])
def test_a_body_above_the_limit_is_refused_with_the_remedy(form: str, path: str):
    from serving.rest.server import RestOptions, RestServer

    server = RestServer(StubCatalog(StubModel()), "127.0.0.1", 0, RestOptions(max_body_bytes=1000))
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    body = iter([b" " * 999, b"{}"]) if form == "chunked" else b" " * 1001
    try:
        connection.request("POST", path, body, encode_chunked=form == "chunked")
        answer = connection.getresponse()
        assert answer.status == 413
        assert "raise --rest_api_max_body_bytes" in json.load(answer)["error"]
        assert answer.headers["Connection"] == "close"
    finally:
        connection.close()
        server.stop(0)


def test_trailers_without_end_are_a_bad_request(rest_port: int):
    trailers = b"0\r\n" + b"A: b\r\n" * 200
    answer = talk(rest_port, post("Transfer-Encoding: chunked\r\n", trailers), hang_up=False)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_answers_are_never_zipped(send: Any):
    answer = send("POST", PREDICT, BODY, {"Accept-Encoding": "gzip"})
    assert answer.json == ANSWER
    assert "Content-Encoding" not in answer.headers


def test_a_body_may_come_in_chunks(connection: http.client.HTTPConnection):
    pieces = iter([BODY[:5], BODY[5:6], BODY[6:]])
    connection.request(
        "POST", PREDICT, pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert json.loads(connection.getresponse().read()) == ANSWER


@contextmanager
def raw(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        yield connection


def talk(port: int, request: bytes, hang_up: bool = True) -> bytes:
    """All that comes back for some bytes, after which no more are sent."""
    with raw(port) as connection:
        connection.sendall(request)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def post(headers: str, body: bytes = b"") -> bytes:
    return f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode() + body


@pytest.fixture
def works(rest_port: int) -> Iterator[Callable[[], None]]:
    """Checks after the test, too, that the server answers a good request."""

    def check() -> None:
        answer = talk(rest_port, post(f"Content-Length: {len(BODY)}\r\n", BODY))
        assert b"[3.0" in answer

    yield check
    check()


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: many\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: \u0665\r\n",
        f"Content-Length: {'9' * 30}\r\n",
        "Transfer-Encoding: deflate\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
    ],
)
@pytest.mark.usefixtures("works")
def test_a_length_that_is_none_is_a_bad_request(rest_port: int, headers: str):
    answer = talk(rest_port, post(headers), hang_up=False)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        post("Content-Length: 100\r\n", BODY),
        post("Transfer-Encoding: chunked\r\n", b"5\r\nab"),
        post("Transfer-Encoding: chunked\r\n"),
        b"POST /v1/mod",
        b"",
    ],
)
@pytest.mark.usefixtures("works")
def test_a_client_that_hangs_up_within_a_request_gets_no_answer(
    rest_port: int, request_bytes: bytes
):
    assert talk(rest_port, request_bytes) == b""


def test_a_client_that_only_stopped_sending_gets_its_answer(works: Callable[[], None]):
    works()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET " + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/models/m HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET /v1/models/m HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /v1/models/m HTTP/9.9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
    ],
)
@pytest.mark.usefixtures("works")
def test_garbage_is_answered_or_dropped(rest_port: int, request_bytes: bytes):
    started = time.monotonic()
    try:
        answer = talk(rest_port, request_bytes)
    except OSError:  # the server closed with bytes unread
        answer = b""
    assert time.monotonic() - started < 10
    assert b" 200 " not in answer


def test_slow_clients_hold_up_nobody(rest_port: int, works: Callable[[], None]):
    with raw(rest_port) as first, raw(rest_port) as second:
        first.sendall(b"POST /v1/mod")
        second.sendall(post("Content-Length: 100\r\n", BODY[:3]))
        for _ in range(3):
            works()
        second.sendall(BODY[3:].ljust(97))
        assert b"[3.0" in second.recv(65536)


def test_requests_may_come_all_at_once(rest_port: int):
    one = post(f"Content-Length: {len(BODY)}\r\n", BODY)
    assert talk(rest_port, one * 5).count(b"[3.0") == 5


def test_curl_asks_as_the_tutorials_do_and_waits_before_a_long_body(rest_port: int, tmp_path: Any):
    document = tmp_path / "body.json"
    document.write_text(json.dumps({"instances": [2.0] * 400_000}))
    url = f"http://127.0.0.1:{rest_port}{PREDICT}"
    command = ["curl", "-sv", "-X", "POST", url, "-d", f"@{document}", "-H", "Expect: 100-continue"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert b"HTTP/1.1 100 Continue" in done.stderr
    assert json.loads(done.stdout) == {"predictions": [3.0] * 400_000}


def test_old_clients_may_keep_their_connection(rest_port: int):
    head = f"POST {PREDICT} HTTP/1.0\r\nContent-Length: {len(BODY)}\r\n"
    one = f"{head}Connection: keep-alive\r\n\r\n".encode() + BODY
    last = f"{head}\r\n".encode() + BODY
    answer = talk(rest_port, one + one + last, hang_up=False)
    assert answer.count(b"[3.0") == 3
    assert answer.count(b"\r\nConnection: keep-alive\r\n") == 2
    assert answer.count(b"\r\nConnection: close\r\n") == 1


def test_a_proxys_whole_address_is_a_path(rest_port: int):
    answer = talk(rest_port, b"GET http://host:1/v1/models/m HTTP/1.1\r\nHost: host\r\n\r\n")
    assert b"AVAILABLE" in answer


def test_a_stop_finishes_what_has_come_and_no_more():
    from serving.rest.server import RestServer

    begun, go_on = threading.Event(), threading.Event()

    def act() -> None:
        begun.set()
        go_on.wait(20)

    catalog: Any = StubCatalog(StubModel(act))
    server = RestServer(catalog, "127.0.0.1", 0)
    server.start()
    with raw(server.port) as busy, raw(server.port) as slow, raw(server.port) as idle:
        idle.sendall(b"GET /v1/ HTTP/1.1\r\n\r\n")
        assert b" 400 " in idle.recv(65536)
        slow.sendall(post("Content-Length: 100\r\n", b"{"))
        busy.sendall(post(f"Content-Length: {len(BODY)}\r\n", BODY))
        assert begun.wait(20)
        threading.Timer(0.3, go_on.set).start()
        server.stop(grace_seconds=20)
        answer = busy.recv(65536)
        idle.sendall(b"GET /v1/ HTTP/1.1\r\n\r\n")
        assert idle.recv(65536) == b""
        # Not an answer by models that have gone.
        slow.sendall(b" " * 99)
        assert slow.recv(65536) == b""
    assert b"[2.0" in answer
    assert b"\r\nConnection: close\r\n" in answer
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=20)


def test_metrics_are_read_at_their_path_alone():
    from serving.models.catalog import Catalog
    from serving.rest.server import RestOptions, RestServer

    options = RestOptions(monitoring_path="/monitoring/metrics", monitoring=lambda: b"a 1\n")
    server = RestServer(Catalog(), "127.0.0.1", 0, options)
    server.start()
    try:
        get = "GET /monitoring/metrics{} HTTP/1.1\r\n\r\n"
        answer = talk(server.port, get.format("").encode())
        assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")
        assert answer.endswith(b"\r\n\r\na 1\n")
        refused = talk(server.port, get.format("?x").encode())
        assert refused.startswith(b"HTTP/1.1 400 ")
        assert refused.endswith(
            b"Unexpected path: /monitoring/metrics?x. Should be /monitoring/metrics"
        )
        assert talk(server.port, b"GET /monitoring HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    finally:
        server.stop(grace_seconds=1)
