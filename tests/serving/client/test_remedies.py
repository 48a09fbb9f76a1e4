"""Where no server answers, the error says what to change."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from linnaeus.errors import ServingError
from serving.client import ScoringClient

pytestmark = pytest.mark.slow


@pytest.fixture
def web_port() -> Iterator[int]:
    """A port where only HTTP/1 is spoken, as on a server's REST port."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("127.0.0.1:{port}", "name its port for gRPC, not the one for REST"),
        ("grpcs://127.0.0.1:{port}", "it speaks no TLS: name it without grpcs://"),
        (
            "127.0.0.1:1",
            "serve --model m`, or correct the address: HOST:PORT with its port for gRPC",
        ),
    ],
)
def test_the_remedy_fits_what_listens_there(web_port: int, address: str, remedy: str):
    with (
        ScoringClient(address.format(port=web_port), connect_seconds=1) as client,
        pytest.raises(ServingError) as refused,
    ):
        client.resolve_version("m")
    assert remedy in str(refused.value)
