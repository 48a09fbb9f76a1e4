"""Clients that are many, silent or slow keep no others out."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving.protocol import wire
from tests.serving.stub_models import StubCatalog, StubModel

pytestmark = pytest.mark.slow

SECONDS = 20
BODY = b'{"instances": [1.0]}'
POST = b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
DESCRIPTORS = 256


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """Until it is set, no model answers."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def started(go_on: threading.Event) -> Iterator[Callable[[int], int]]:
    """`started(4)`: the port of a server that keeps so many connections."""
    from serving.connections import Connections
    from serving.rest.server import RestServer

    servers = []

    def start(most: int) -> int:
        catalog: Any = StubCatalog(StubModel(lambda: assert_set(go_on)))
        server = RestServer(catalog, "127.0.0.1", 0)
        server._server.connections = Connections(most)
        servers.append(server)
        server.start()
        return server.port

    yield start
    go_on.set()
    for server in servers:
        server.stop(grace_seconds=1)


def assert_set(event: threading.Event) -> None:
    assert event.wait(SECONDS)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), SECONDS)


def ask(port: int) -> bytes:
    with connect(port) as connection:
        connection.sendall(POST)
        return connection.recv(65536)


def test_two_hundred_clients_at_once_are_all_answered(started: Any, go_on: threading.Event):
    port = started(300)
    with ThreadPoolExecutor(200) as pool:
        answers = [pool.submit(ask, port) for _ in range(200)]
        go_on.set()
        assert {one.result()[:15] for one in answers} == {b"HTTP/1.1 200 OK"}


def test_beyond_the_most_requests_a_client_is_told_to_come_back(
    started: Any, monkeypatch: pytest.MonkeyPatch
):
    from serving.rest import server

    monkeypatch.setattr(server, "MOST_REQUESTS", 2)
    port = started(10)
    with connect(port) as first, connect(port) as second:
        for connection in (first, second):
            connection.sendall(POST)
        until(lambda: b" 503 " in ask_unless_waiting(port))
        answer = ask(port)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert "Too many requests" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def ask_unless_waiting(port: int) -> bytes:
    with connect(port) as connection:
        connection.settimeout(0.2)
        connection.sendall(POST)
        try:
            return connection.recv(65536)
        except TimeoutError:
            return b""


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_the_longest_silent_connection_makes_room(
    started: Any, go_on: threading.Event, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("serving.connections._GRACE_SECONDS", 0.1)
    go_on.set()
    port = started(4)
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(port)) for _ in range(4)]
        silent[0].sendall(b"POST /v1/mod")
        assert b"200 OK" in ask(port)
        assert silent[0].recv(1) == b""
        silent[3].sendall(POST)
        assert b"200 OK" in silent[3].recv(65536)


def test_while_all_connections_are_at_work_others_queue(started: Any, go_on: threading.Event):
    port = started(2)
    with connect(port) as first, connect(port) as second, connect(port) as third:
        for connection in (first, second, third):
            connection.sendall(POST)
        third.settimeout(0.3)
        with pytest.raises(TimeoutError):
            third.recv(1)
        go_on.set()
        third.settimeout(SECONDS)
        for connection in (first, second):
            assert b"200 OK" in connection.recv(65536)
            connection.close()
        assert b"200 OK" in third.recv(65536)


@pytest.mark.parametrize("first", [b"", b"POST /v1/mod", POST[:60], POST])
def test_a_client_that_trickles_is_cut_off_in_time(
    started: Any, go_on: threading.Event, monkeypatch: pytest.MonkeyPatch, first: bytes
):
    from serving.rest import server

    monkeypatch.setattr(server, "IDLE_SECONDS", 0.5)
    go_on.set()
    port = started(4)
    began = time.monotonic()
    with connect(port) as connection:
        connection.sendall(first)
        if first == POST:
            assert b"200 OK" in connection.recv(65536)
        try:
            while time.monotonic() < began + SECONDS:
                connection.settimeout(0.1)
                connection.sendall(b"G")
                try:
                    if connection.recv(65536) == b"":
                        break
                except TimeoutError:
                    continue
        except OSError:
            pass
    assert time.monotonic() - began < 5


def test_silent_connections_up_to_the_descriptors_keep_nobody_out_and_the_loops_rest(
    half_plus: Callable[[int], Path], tmp_path: Path
):
    (tmp_path / "1").symlink_to(half_plus(2))
    command = [sys.executable, "-m", "serving.model_server", "--port=0"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        command += [f"--model_base_path={tmp_path}", f"--rest_api_port={free.getsockname()[1]}"]
    process = subprocess.Popen(
        ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh", *command],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address, rest = (process.stdout.readline().split()[-1] for _ in range(2))
        with ExitStack() as stack:
            for port in (int(address.rpartition(":")[2]), int(rest.rpartition(":")[2])):
                for _ in range(250):
                    stack.enter_context(connect(port))
            time.sleep(1)
            worked = processor_seconds(process.pid)
            time.sleep(1)
            assert processor_seconds(process.pid) - worked < 0.5
            with connect(int(rest.rpartition(":")[2])) as client:
                client.sendall(b"GET /v1/models/default HTTP/1.1\r\n\r\n")
                assert b"AVAILABLE" in client.recv(65536)
            request = wire.GetModelStatusRequest(model_spec={"name": "default"})
            with grpc.insecure_channel(address) as channel:
                call = channel.unary_unary(wire.GET_MODEL_STATUS)
                assert call(request.SerializeToString(), timeout=SECONDS, wait_for_ready=True)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_bodies_of_all_clients_together_are_bounded():
    from serving.rest.server import RestOptions, RestServer

    catalog: Any = StubCatalog(StubModel())
    server = RestServer(catalog, "127.0.0.1", 0, RestOptions(max_body_bytes=1000))
    server.start()
    head = POST.partition(b"Content")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    try:
        with ExitStack() as stack:
            for _ in range(10):
                one = stack.enter_context(connect(server.port))
                one.sendall(head + b"3e6\r\n" + bytes(998) + b"\r\n")
            assert (
                ask_until(server.port, 503).partition(b"\r\n\r\n")[0].count(b"Retry-After: 1") == 1
            )
        ask_until(server.port, 200)
    finally:
        server.stop(grace_seconds=1)


def ask_until(port: int, status: int) -> bytes:
    give_up_at = time.monotonic() + SECONDS
    while not (answer := ask(port)).startswith(b"HTTP/1.1 %d " % status):
        assert time.monotonic() < give_up_at, answer
    return answer
