"""A server of the public tests' model, of the suite's own and of one of every type."""

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.serving.public_models import signature, write_half_plus_two, write_signatures

PREDICT = "/v1/models/m:predict"


@dataclass(frozen=True)
class Answer:
    """What came back over the socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def server(
    half_plus: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Serves `m`, version 123, `default`, version 123, and `types`, version 1."""
    import shutil

    from serving.server import EmbeddedServer

    folder = tmp_path_factory.mktemp("rest")
    shutil.copytree(half_plus(2), folder / "m" / "00000123")
    write_half_plus_two(folder / "default" / "123")
    write_types(folder / "types" / "1")
    models = {name: str(folder / name) for name in ("m", "default", "types")}
    with EmbeddedServer(models, rest_api_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def rest_port(server: Any) -> int:
    """The port of its REST interface."""
    assert server.rest_api_port
    return int(server.rest_api_port)


@pytest.fixture
def connection(rest_port: int) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", rest_port, timeout=20)
    yield made
    made.close()


@pytest.fixture
def send(connection: http.client.HTTPConnection) -> Callable[..., Answer]:
    """`send(method, path, body, headers)` over one connection that is kept."""

    def call(
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())

    return call


@pytest.fixture
def ask(send: Callable[..., Answer]) -> Callable[..., tuple[int, Any]]:
    """`ask(path, body)`: status and JSON of a POST, or of a GET if there is no body."""

    def call(path: str, body: Any = None) -> tuple[int, Any]:
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        answer = send("GET" if data is None else "POST", path, data)
        assert answer.headers["Content-Type"] == "application/json"
        return answer.status, answer.json

    return call


def write_types(folder: Path) -> Path:
    """A signature a type, which returns what it gets, and a few odd ones."""
    import tensorflow as tf

    v1 = tf.compat.v1
    names = [
        *("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16"),
        *("uint32", "uint64", "bool", "string", "complex64", "bfloat16"),
    ]
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = {}
        for name in names:
            x = v1.placeholder(name, name=name)
            signatures[name] = signature("predict", {"x": x}, {"y": tf.identity(x)})
        x = v1.placeholder(tf.float32, name="x")
        text = v1.placeholder(tf.string, name="text")
        other = v1.placeholder(tf.string, name="other")
        both = {"a": x + 0.0, "b": tf.cast(x * 2.0, tf.int64)}
        signatures |= {
            "both": signature("predict", {"x": x}, both),
            "bytes": signature("predict", {"x": text}, {"y_bytes": tf.identity(text)}),
            "two_texts": signature("predict", {"a": text, "b": other}, {"y": tf.identity(text)}),
            "half": signature("predict", {"x": x}, {"y": tf.cast(x, tf.float16)}),
            "complex": signature("predict", {"x": x}, {"y": tf.cast(x, tf.complex64)}),
            "scalar": signature("predict", {"x": x}, {"y": tf.reduce_sum(x)}),
            "ragged": signature("predict", {"x": x}, {"a": x + 1.0, "b": tf.zeros([5])}),
            "no_inputs": signature("predict", {}, {"y": tf.zeros([1])}),
            "no_outputs": signature("predict", {"x": x}, {}),
        }
        return write_signatures(folder, session, signatures)
