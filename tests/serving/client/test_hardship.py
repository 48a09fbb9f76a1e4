"""Servers that refuse, fail, or are several: what was answered is never asked again."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.errors import FailureCode, ImageError, ServingError
from linnaeus.records import Prediction
from serving.client import ScoringClient, in_flight, retries
from serving.client.checked_rows import CheckedRow
from serving.protocol import tensors
from tests.serving.client.stand_in import answer, serving

pytestmark = pytest.mark.slow

BYTES = "serving_default"
OVERLOADED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many threads")
QUEUE_FULL = (grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue is full")
AWAY = (grpc.StatusCode.UNAVAILABLE, "connection reset")
LATE = (grpc.StatusCode.DEADLINE_EXCEEDED, "late")
TOO_LARGE = (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)")
BAD_ROW = (grpc.StatusCode.INVALID_ARGUMENT, "Unknown image file format")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch):
    for module in (retries, in_flight):
        monkeypatch.setattr(module, "FIRST_DELAY_SECONDS", 0.001)


def rows_of(request: Any) -> list[bytes]:
    return list(tensors.to_array(request.inputs["image_bytes"]))


class Counting:
    """Answers, but for failures in the order of calls; counts the rows that it answered."""

    def __init__(self, failures: list[Any] = (), bad: frozenset[bytes] = frozenset()) -> None:
        self.answered: Counter[bytes] = Counter()
        self._failures, self._bad = list(failures), bad
        self._lock = threading.Lock()

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        rows = rows_of(request)
        with self._lock:
            failure = self._failures.pop(0) if self._failures else None
            if not failure and self._bad & set(rows):
                failure = BAD_ROW
            if not failure:
                self.answered.update(rows)
        if failure:
            context.abort(*failure)
        return answer(request)


@given(
    st.lists(st.sampled_from([None, OVERLOADED, QUEUE_FULL, AWAY, TOO_LARGE]), max_size=30),
    st.sets(st.integers(0, 59), max_size=5),
    st.integers(1, 20),
)
@settings(max_examples=25, deadline=None)
def test_whatever_fails_every_row_is_answered_once_and_none_is_answered_twice(
    failures: list[Any], bad: set[int], batch_rows: int
):
    rows = [(number, f"row {number}".encode()) for number in range(60)]
    server = Counting(failures, frozenset(value for key, value in rows if key in bad))
    with serving(server) as address, ScoringClient(address, batch_rows=batch_rows) as client:
        scored = list(client.score("m", 7, BYTES, rows))
    assert [key for key, _ in scored] == list(range(60))
    refused = {key for key, outcome in scored if isinstance(outcome, ImageError)}
    # A single row that is too large to send is a failure of that row.
    assert bad <= refused
    assert len(refused - bad) <= failures.count(TOO_LARGE)
    assert server.answered == {value: 1 for key, value in rows if key not in refused}


def test_a_request_that_misses_its_deadline_is_tried_again_and_not_for_ever():
    server = Counting([LATE, LATE])
    with serving(server) as address, ScoringClient(address) as client:
        assert len(list(client.score("m", 7, BYTES, [(1, b"x")]))) == 1
    calls = count()

    def never(request: Any, context: grpc.ServicerContext) -> Any:
        next(calls)
        context.abort(*LATE)

    with (
        serving(never) as address,
        ScoringClient(address) as client,
        pytest.raises(ServingError, match="did not answer within 60 s, 3 times"),
    ):
        list(client.score("m", 7, BYTES, [(1, b"x")]))
    assert next(calls) == 3


class Room:
    """A server with room for so many calls; refuses others."""

    def __init__(self, room: int, seconds: float = 0.005) -> None:
        self.refused, self._held, self._room, self._seconds = 0, 0, room, seconds
        self._lock = threading.Lock()

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            if self._held >= self._room:
                self.refused += 1
                context.abort(*OVERLOADED)
            self._held += 1
        try:
            time.sleep(self._seconds)
            return answer(request)
        finally:
            with self._lock:
                self._held -= 1


def test_refusals_use_up_no_patience_while_other_requests_are_answered():
    server = Room(2)
    rows = [(number, b"x") for number in range(1500)]
    with (
        serving(server) as address,
        ScoringClient(address, batch_rows=1, deadline_seconds=0.5) as client,
    ):
        started = time.monotonic()
        assert len(list(client.score("m", 7, BYTES, rows))) == 1500
        assert time.monotonic() - started > 2
    assert 0 < server.refused < 1500


def test_a_server_that_only_refuses_ends_the_patience():
    with (
        serving(lambda _, context: context.abort(*OVERLOADED)) as address,
        ScoringClient(address, deadline_seconds=0.3) as client,
        pytest.raises(ServingError, match="is overloaded"),
    ):
        list(client.score("m", 7, BYTES, [(1, b"x")]))


def test_streams_of_several_threads_share_one_limit():
    server = Room(3)

    def score(client: ScoringClient, number: int) -> int:
        return len(list(client.score("m", 7, BYTES, [(number, b"x")] * 200)))

    with (
        serving(server) as address,
        ScoringClient(address, batch_rows=1, in_flight=3) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        done = list(threads.map(lambda number: score(client, number), range(8)))
    assert done == [200] * 8
    # However slow the machine: there are never more calls under way than the limit's most.
    assert server.refused == 0


def test_bytes_that_are_read_ahead_are_bounded():
    read = 0

    def rows() -> Iterator[tuple[int, bytes]]:
        nonlocal read
        for number in range(400):
            read += 1
            yield number, bytes(1000)

    with (
        serving(Room(32)) as address,
        ScoringClient(address, batch_rows=1, ahead_bytes=5000) as client,
    ):
        ahead = [read - number for number, _ in client.score("m", 7, BYTES, rows())]
    # Besides: batches that were answered while the one that is next was not.
    assert max(ahead) < 60


@contextmanager
def several(number: int) -> Iterator[tuple[str, list[Counting]]]:
    servers = [Counting() for _ in range(number)]
    with ExitStack() as stack:
        addresses = [stack.enter_context(serving(server)) for server in servers]
        yield f"ipv4:{','.join(addresses)}", servers


def test_servers_behind_one_address_share_the_work():
    with several(2) as (address, servers), ScoringClient(address, batch_rows=1) as client:
        outcomes = list(client.score("m", 7, BYTES, [(n, b"%d" % n) for n in range(200)]))
    assert all(isinstance(outcome, Prediction) for _, outcome in outcomes)
    shares = [server.answered.total() for server in servers]
    assert sum(shares) == 200
    assert min(shares) > 40


def test_a_unix_socket_is_an_address(tmp_path: Path):
    address = f"unix:{tmp_path}/s"
    with serving(Counting(), address=address), ScoringClient(address) as client:
        [(_, outcome)] = client.score("m", 7, BYTES, [("k", b"x")])
    assert isinstance(outcome, Prediction)


PROGRAM = """
import sys
from serving.client import ScoringClient
with ScoringClient(sys.argv[1]) as client:
    print([outcome.label for _, outcome in client.score("m", 7, "serving_default", [(1, b"x")])])
print({"tensorflow", "tensorflow_serving"} & set(sys.modules))
"""


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A key, and a certificate for `localhost` that it signed itself."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    return key, certificate


def over_tls(address: str, certificate: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, f"grpcs://{address}"],
        env={
            **os.environ,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_tls_trusts_the_roots_that_are_named_and_no_tensorflow_is_imported(
    pair: tuple[Path, Path],
):
    key, certificate = pair
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    with serving(Counting(), address="localhost:0", credentials=credentials) as address:
        result = over_tls(address, certificate)
    assert result.stdout.split("\n")[:2] == ["['cat']", "set()"]


CALLER = """
import sys
from unittest.mock import Mock
from google.oauth2 import id_token
from serving.client import channels

def fetch(audience, request):
    def before_request(request, method, url, headers):
        headers["authorization"] = f"Bearer for {audience}"
    return Mock(before_request=before_request)

id_token.fetch_id_token_credentials = fetch
channels.CLOUD_RUN = "localhost"
(channel,) = channels.open_channels(sys.argv[1], 1)
print(channel.unary_unary("/a/b")(b"", timeout=20).decode())
"""


class _SaysWhoCalls(grpc.GenericRpcHandler):
    def service(self, details: Any) -> Any:
        told = dict(details.invocation_metadata)["authorization"]
        return grpc.unary_unary_rpc_method_handler(lambda request, context: told.encode())


def test_cloud_run_is_shown_a_token_for_itself_alone(pair: tuple[Path, Path]):
    key, certificate = pair
    server = grpc.server(ThreadPoolExecutor(1), handlers=[_SaysWhoCalls()])
    port = server.add_secure_port(
        "localhost:0",
        grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())]),
    )
    server.start()
    called = subprocess.run(
        [sys.executable, "-c", CALLER, f"grpcs://localhost:{port}"],
        env={**os.environ, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    server.stop(0)
    assert called.stdout == "Bearer for https://localhost\n", called.stderr


def test_a_server_that_asks_who_calls_is_shown_the_certificate_that_is_named(
    pair: tuple[Path, Path],
):
    key, certificate = pair
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())], certificate.read_bytes(), True
    )
    named = {
        "LINNAEUS_TLS_KEY_FILE": str(key),
        "LINNAEUS_TLS_CERTIFICATE_FILE": str(certificate),
    }
    with serving(Counting(), address="localhost:0", credentials=credentials) as address:
        assert over_tls(address, certificate, **named).stdout.startswith("['cat']")
        alone = over_tls(address, certificate, LINNAEUS_TLS_KEY_FILE=str(key))
    assert "name both LINNAEUS_TLS_KEY_FILE and LINNAEUS_TLS_CERTIFICATE_FILE" in alone.stderr


CHECKED = CheckedRow("golden.png", b"golden", b"golden", None)


def test_a_server_that_begins_to_lie_within_the_last_rows_is_seen():
    asked = count()

    def turning(request: Any, context: grpc.ServicerContext) -> Any:
        # The checked row, 64 rows with it, then the last 36.
        return answer(request, labels=("cat", "dog") if next(asked) < 2 else ("dog", "cat"))

    with (
        serving(turning) as address,
        ScoringClient(address, batch_rows=64, checked=CHECKED, in_flight=1) as client,
        pytest.raises(ServingError, match="mixes rows up or serves another model"),
    ):
        list(client.score("m", 7, BYTES, [(key, b"row") for key in range(100)]))


def test_a_row_is_not_refused_for_the_checked_one_beside_it():
    def only_one(request: Any, context: grpc.ServicerContext) -> Any:
        return answer(request) if len(rows_of(request)) == 1 else context.abort(*BAD_ROW)

    rows = [(key, b"row") for key in range(200)]
    with (
        serving(only_one) as address,
        ScoringClient(address, batch_rows=64, checked=CHECKED) as client,
    ):
        scored = list(client.score("m", 7, BYTES, rows))
    assert all(isinstance(outcome, Prediction) for _, outcome in scored)


def test_an_image_that_the_server_takes_too_long_for_costs_no_other_its_label():
    def stuck_on_one(request: Any, context: grpc.ServicerContext) -> Any:
        return context.abort(*LATE) if b"slow" in rows_of(request) else answer(request)

    rows = [(key, b"slow" if key == 5 else b"row") for key in range(16)]
    with serving(stuck_on_one) as address, ScoringClient(address, checked=CHECKED) as client:
        scored = dict(client.score("m", 7, BYTES, rows))
    slow = scored.pop(5)
    assert isinstance(slow, ImageError)
    assert slow.code is FailureCode.SERVER_ERROR
    assert all(isinstance(outcome, Prediction) for outcome in scored.values())


def test_a_server_that_is_late_for_the_checked_row_too_ends_the_run():
    asked = count()

    def late(request: Any, context: grpc.ServicerContext) -> Any:
        return answer(request) if next(asked) == 0 else context.abort(*LATE)

    with (
        serving(late) as address,
        ScoringClient(address, checked=CHECKED) as client,
        pytest.raises(ServingError, match=r"refuses even the golden image golden\.png: DEADLINE"),
    ):
        list(client.score("m", 7, BYTES, [(1, b"row")]))
