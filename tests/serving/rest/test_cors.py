"""What browsers are told that run pages of other origins."""

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/m:predict"
ORIGIN = {"Origin": "https://pages.example", "Access-Control-Request-Method": "POST"}
ALLOWED = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


def allowed(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name: text for name, text in answer.getheaders() if name.startswith("Access-Control")}


@pytest.fixture(scope="module")
def ports(
    half_plus: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[bool, int]]:
    """Ports of servers with CORS support and without."""
    from serving.server import EmbeddedServer, ServerOptions

    base = tmp_path_factory.mktemp("m")
    (base / "1").symlink_to(half_plus(2))

    def server(enabled: bool) -> Any:
        options = ServerOptions(rest_api_enable_cors_support=enabled, monitoring_path="/metrics")
        return EmbeddedServer({"m": str(base)}, rest_api_port=0, options=options)

    with server(True) as talkative, server(False) as silent:
        yield {True: talkative.rest_api_port, False: silent.rest_api_port}


@pytest.fixture
def send(ports: dict[bool, int]) -> Iterator[Callable[..., http.client.HTTPResponse]]:
    """`send(enabled, method, path, body, headers)`."""
    connections = []

    def call(enabled: bool, *request: Any) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", ports[enabled], timeout=20)
        connections.append(connection)
        connection.request(*request)
        return connection.getresponse()

    yield call
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", PREDICT, b'{"instances": [2.0]}', 200),
        ("POST", PREDICT, b"{", 400),
        ("GET", "/v1/models/m", None, 200),
        ("GET", "/v1/models/none", None, 404),
    ],
)
def test_every_answer_may_be_read_by_other_origins_if_asked_for(
    send: Any, method: str, path: str, body: bytes | None, status: int
):
    for enabled in (True, False):
        answer = send(enabled, method, path, body)
        assert answer.status == status
        assert answer.getheader("Content-Type") == "application/json"
        assert allowed(answer) == (ALLOWED if enabled else {})


@pytest.mark.parametrize("enabled", [True, False])
def test_the_question_before_a_call_is_answered_with_nothing(send: Any, enabled: bool):
    answer = send(enabled, "OPTIONS", PREDICT, None, ORIGIN)
    assert (answer.status, answer.read()) == (200, b"")
    assert answer.getheader("Content-Type") is None
    assert allowed(answer) == (ALLOWED if enabled else {})


@pytest.mark.parametrize("headers", [{}, {"Origin": "null"}, {"Origin": "file://a"}])
@pytest.mark.parametrize("enabled", [True, False])
def test_the_question_without_an_origin_is_refused(
    send: Any, enabled: bool, headers: dict[str, str]
):
    answer = send(enabled, "OPTIONS", PREDICT, None, headers)
    assert answer.status == 400
    assert b"Origin header is missing in CORS preflight" in answer.read()


def test_metrics_and_what_is_not_there_are_nobodys_business(send: Any):
    for path in ("/metrics", "/elsewhere"):
        assert allowed(send(True, "GET", path)) == {}
