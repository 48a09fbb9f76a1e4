"""A proxy in front of the S3 server that breaks what it is told to break.

The client's `Host` header is passed on as it was signed, so signatures stay valid.
"""

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol
from urllib.parse import unquote, urlsplit

_OWN_HEADERS = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass(frozen=True)
class Answer:
    """What the S3 server said."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Exchange:
    """A request on its way: what to ask the server, and how to answer the client."""

    ask: Callable[[], Answer]
    """Asks the S3 server."""
    send: Callable[[Answer, int | None], None]
    """Answers the client, with so many bytes of the body or all; fewer end the connection."""
    wait: Callable[[float], object]
    """Waits so many seconds, or until the proxy is closed."""
    path: str = ""
    """What is asked for: `/bucket/key`."""


class Fault(Protocol):
    """What becomes of a request."""

    def happen(self, exchange: Exchange) -> None:
        """Answer, or do not: without an answer the connection is closed."""


@dataclass(frozen=True)
class Refuse:
    """An error in place of an answer; the server is not asked."""

    status: int
    code: str

    def happen(self, exchange: Exchange) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code></Error>".encode()
        exchange.send(Answer(self.status, (("Content-Type", "application/xml"),), body), None)


@dataclass(frozen=True)
class CutBody:
    """A share of the body that was announced, and the end of the connection."""

    share: float = 0.5

    def happen(self, exchange: Exchange) -> None:
        answer = exchange.ask()
        exchange.send(answer, int(len(answer.body) * self.share))


@dataclass(frozen=True)
class StuckBody:
    """A share of the body that was announced, and nothing more for a long time."""

    share: float = 0.5
    seconds: float = 600.0

    def happen(self, exchange: Exchange) -> None:
        answer = exchange.ask()
        exchange.send(answer, int(len(answer.body) * self.share))
        exchange.wait(self.seconds)


@dataclass(frozen=True)
class Silence:
    """No answer, and the connection stays open."""

    seconds: float = 600.0

    def happen(self, exchange: Exchange) -> None:
        exchange.wait(self.seconds)


@dataclass(frozen=True)
class LostAnswer:
    """The request takes effect and its answer never comes."""

    def happen(self, exchange: Exchange) -> None:
        exchange.ask()


@dataclass(frozen=True)
class Late:
    """The answer comes after a while."""

    seconds: float

    def happen(self, exchange: Exchange) -> None:
        exchange.wait(self.seconds)
        exchange.send(exchange.ask(), None)


@dataclass(frozen=True)
class Before:
    """Something else happens just before the request reaches the server."""

    action: Callable[[], object]

    def happen(self, exchange: Exchange) -> None:
        self.action()
        exchange.send(exchange.ask(), None)


@dataclass(frozen=True)
class Unconditional:
    """What is there is overwritten, whatever the condition says, which is signed: it goes first."""

    delete: Callable[[str], object]

    def happen(self, exchange: Exchange) -> None:
        self.delete(exchange.path)
        exchange.send(exchange.ask(), None)


@dataclass(frozen=True)
class RepeatKeys:
    """A listing says each of its keys twice."""

    def happen(self, exchange: Exchange) -> None:
        answer = exchange.ask()
        body = re.sub(rb"(<Contents>.*?</Contents>)", rb"\1\1", answer.body, flags=re.DOTALL)
        exchange.send(Answer(answer.status, answer.headers, body), None)


@dataclass(frozen=True)
class Rule:
    """Which requests meet a fault."""

    fault: Fault
    method: str = ".*"
    """Of the whole method."""
    key: str = ""
    """Found in the path, `/bucket/key`, with its query."""
    first: int | None = None
    """How many requests of each path meet it, from the first on; None: all."""
    share: float = 1.0
    """Of the requests; which ones follows from `seed`, the path and how often it was asked for."""
    seed: int = 0

    def meets(self, method: str, path: str, number: int) -> bool:
        """Whether the `number`-th request of this kind, from 0, meets the fault."""
        if not (re.fullmatch(self.method, method) and re.search(self.key, path)):
            return False
        if self.first is not None and number >= self.first:
            return False
        digest = hashlib.sha256(f"{self.seed} {method} {path} {number}".encode()).digest()
        return int.from_bytes(digest[:4]) < self.share * 2**32


@dataclass
class Proxy:
    """A running proxy; its rules may be changed at any time, the first that fits counts."""

    endpoint: str
    rules: Sequence[Rule] = ()
    met: Counter[str] = field(default_factory=Counter)
    """How often each kind of fault happened."""
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each path was asked for, by method and path."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: threading.Event = field(default_factory=threading.Event)

    def fault_for(self, method: str, target: str) -> Fault | None:
        """The fault that a request meets; counts the request."""
        path = unquote(target)
        with self.lock:
            number = self.asked[method, path]
            self.asked[method, path] += 1
            for rule in self.rules:
                if rule.meets(method, path, number):
                    self.met[type(rule.fault).__name__] += 1
                    return rule.fault
        return None


@contextmanager
def faulty(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of the S3 server at `upstream`, without faults at first."""

    class Handler(_Handler):
        server_address = urlsplit(upstream).netloc

    server = _Server(("127.0.0.1", 0), Handler)
    proxy = Handler.proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closed.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body would wait 40 ms for the head's acknowledgement
    proxy: Proxy
    server_address: str

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.answered = False
        path = unquote(urlsplit(self.path).path)
        exchange = Exchange(lambda: self._ask(body), self._send, self.proxy.closed.wait, path)
        fault = self.proxy.fault_for(self.command, self.path)
        if fault is None:
            self._send(self._ask(body), None)
        else:
            fault.happen(exchange)
        self.close_connection = self.close_connection or not self.answered

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815 - http.server's names

    def _ask(self, body: bytes) -> Answer:
        connection = HTTPConnection(self.server_address, timeout=60)
        try:
            connection.putrequest(self.command, self.path, True, True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, tuple(response.getheaders()), response.read())
        finally:
            connection.close()

    def _send(self, answer: Answer, body_bytes: int | None) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in _OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", self._length(answer))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:body_bytes])
        self.answered = body_bytes is None

    def _length(self, answer: Answer) -> str:
        if self.command == "HEAD":
            return dict(answer.headers).get("Content-Length", "0")
        return str(len(answer.body))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
