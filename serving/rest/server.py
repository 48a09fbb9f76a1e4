"""TensorFlow Serving's REST interface over HTTP/1.1, with a thread a connection.

Answers as `model_servers/http_server.cc` and its `util/net_http` do.
"""

import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc

from serving.connections import Connections, most_connections
from serving.grpc_status import StatusError, unexpected
from serving.inference.options import InferenceOptions
from serving.models.catalog import Catalog
from serving.rest.bodies import (
    MAX_BODY_BYTES,
    BodyCutError,
    BodyError,
    BodyTooLargeError,
    NoRoomError,
    Room,
    discard,
    read_body,
)
from serving.rest.calls import Request, answer_rest
from serving.rest.documents import error_document
from serving.rest.monitoring import Record, recorded
from serving.rest.processes import Processes
from serving.rest.routes import is_served

Answer = Callable[[Request], str]

IDLE_SECONDS = 30.0
"""How long a connection may take for the headers of its next request."""
BODY_SECONDS = 300.0
TIMEOUT_SECONDS = 30.0
MOST_REQUESTS = 256
"""Answered at once or waiting for it; more are refused."""
_REST_SECONDS = 0.05
_MOST_BODIES = 10
"""Of the largest size, in memory at once; more are refused."""

_LINE_BYTES = 65536
_CORS_HEADERS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)
_ORIGIN = re.compile("https?://")
_CLIENT_CLOSED_REQUEST = 499
_HTTP_STATUS: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.CANCELLED: _CLIENT_CLOSED_REQUEST,
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.ABORTED: HTTPStatus.CONFLICT,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}
_HOST = re.compile(r"^https?://[^/]*", re.IGNORECASE)
_ERROR_PAGE = """<HTML><HEAD>
<TITLE>{status} {phrase}</TITLE>
</HEAD><BODY>
<H1>{phrase}</H1>
</BODY></HTML>
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RestOptions:
    """What a REST server does beyond answering from a catalog.

    Attributes:
        timeout_seconds: how long a model may take for a request; None for ever.
        monitoring_path: where the metrics are read; None if nowhere.
        monitoring: makes the metrics' text, for each reader anew.
        record: told of each inference.
        enable_cors_support: tell browsers that pages of any origin may read the answers.
        inference: how calls are answered.
        max_body_bytes: what a body may have, also once it is unzipped.
    """

    timeout_seconds: float | None = TIMEOUT_SECONDS
    monitoring_path: str | None = None
    monitoring: Callable[[], bytes] | None = None
    record: Record | None = None
    enable_cors_support: bool = False
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    max_body_bytes: int = MAX_BODY_BYTES


class RestServer:
    """HTTP/1.1 with a thread a connection."""

    def __init__(
        self, catalog: Catalog, host: str, port: int, options: RestOptions | None = None
    ) -> None:
        options = options or RestOptions()
        self._processes = Processes(options.max_body_bytes)
        answer = partial(
            answer_rest,
            catalog,
            timeout_seconds=options.timeout_seconds,
            options=options.inference,
            run=self._processes.run,
        )
        self._server = _HttpServer((host, port), options, answer)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="rest", daemon=True
        )
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        """Take no more connections, and let requests under way finish within the grace."""
        self._server.stopping = True
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
        give_up_at = time.monotonic() + grace_seconds
        while self._server.busy and time.monotonic() < give_up_at:
            time.sleep(0.02)
        self._processes.close()


class _HttpServer(ThreadingHTTPServer):
    # Threads of idle connections would otherwise hold up the end of the process.
    daemon_threads = True
    block_on_close = False
    request_queue_size = 4096

    def __init__(self, address: tuple[str, int], options: RestOptions, answer: Answer) -> None:
        super().__init__(address, _Handler)
        self.options, self.answer = options, answer
        self.room = Room(_MOST_BODIES * options.max_body_bytes)
        self.busy = 0
        self.stopping = False
        self.connections = Connections(most_connections())
        self._counting = threading.Lock()

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection; where none can be had the loop rests, and clients queue."""
        try:
            if not self.connections.make_room():
                raise BlockingIOError("as many connections as there may be")
            return super().get_request()
        except OSError:
            time.sleep(_REST_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.expect(request, IDLE_SECONDS)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.forget(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self.connections.close_late()

    @contextmanager
    def answering(self, connection: socket.socket) -> Iterator[None]:
        """Count a request that has come whole, and that a stop should wait for."""
        self.connections.expect(connection)
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)
            self.connections.expect(connection, IDLE_SECONDS)

    def _count(self, change: int) -> None:
        with self._counting:
            self.busy += change

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that hang up are no news; anything else is, but not on standard error.
        expected = isinstance(sys.exception(), OSError)
        _log.log(logging.DEBUG if expected else logging.ERROR, "a connection broke", exc_info=True)


@dataclass(frozen=True)
class _Reply:
    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def _json_reply(status: int, text: str) -> _Reply:
    return _Reply(status, "application/json", text.encode(errors="replace"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 2 * IDLE_SECONDS
    # Headers and body leave in one packet.
    wbufsize = -1
    server: _HttpServer
    raw_requestline: bytes

    def respond(self) -> None:
        max_bytes = self.server.options.max_body_bytes
        self.server.connections.expect(self.connection, BODY_SECONDS)
        try:
            with self.server.room.shared() as take:
                body = read_body(self.headers, self.rfile, max_bytes, take)
                with self.server.answering(self.connection):
                    self._answer_unless_stopping(body)
        except BodyTooLargeError as error:
            document = error_document(str(error))
            self._refuse_body(_json_reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, document))
        except NoRoomError:
            self._refuse_body(_OVERLOADED)
        except BodyError:
            self.send_error(HTTPStatus.BAD_REQUEST)
        except BodyCutError:
            self.close_connection = True

    def _refuse_body(self, reply: _Reply) -> None:
        self.close_connection = True
        self._send(reply)
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        discard(self.rfile, self.server.options.max_body_bytes)

    def _answer_unless_stopping(self, body: bytes) -> None:
        # Asked once the request is counted: a stop either waits for it or is seen here.
        if self.server.stopping:
            # The models are about to go: a client that connects anew finds another server.
            self.close_connection = True
            return
        if self.server.busy > MOST_REQUESTS:
            self.close_connection = True
            self._send(_OVERLOADED)
        else:
            self._answer(body)
        self.wfile.flush()

    def parse_request(self) -> bool:
        if not self.raw_requestline.endswith(b"\n") and len(self.raw_requestline) <= _LINE_BYTES:
            # The client hung up within it.
            self.close_connection = True
            return False
        self.server.connections.expect(self.connection, IDLE_SECONDS)
        return super().parse_request()

    def handle_expect_100(self) -> bool:
        expected = super().handle_expect_100()
        self.wfile.flush()
        return expected

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        # The page of the HTTP library that TensorFlow Serving stands on.
        phrase = HTTPStatus(code).phrase
        page = _ERROR_PAGE.format(status=int(code), phrase=phrase)
        self.close_connection = True
        self._send(_Reply(code, "text/html", page.encode()))

    def _answer(self, body: bytes) -> None:
        # Bytes beyond ASCII come as Latin-1; names in them are UTF-8. Proxies name the host.
        path = _HOST.sub("", self.path.encode("latin-1").decode(errors="replace"))
        options = self.server.options
        if options.monitoring and path.partition("?")[0] == options.monitoring_path:
            self._send(_metrics(path, options.monitoring_path, options.monitoring))
        elif is_served(path):
            self._send(self._served(Request(self.command, path, body)))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _served(self, request: Request) -> _Reply:
        if request.method == "OPTIONS":
            reply = _preflight(self.headers.get("Origin", ""))
        else:
            reply = _reply(self.server.answer, self.server.options.record, request)
        with_cors = self.server.options.enable_cors_support
        return replace(reply, headers=_CORS_HEADERS) if with_cors else reply

    def _send(self, reply: _Reply) -> None:
        if self.server.stopping:
            self.close_connection = True
        self.send_response_only(reply.status, _phrase(reply.status))
        if reply.content_type:
            self.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        elif self.request_version == "HTTP/1.0":
            self.send_header("Connection", "keep-alive")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    # Other methods are not implemented; of these, most are malformed requests, but HTTP.
    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = respond  # noqa: N815


def _phrase(status: int) -> str:
    return (
        "Client Closed Request" if status == _CLIENT_CLOSED_REQUEST else HTTPStatus(status).phrase
    )


def _preflight(origin: str) -> _Reply:
    """What a browser is told before it calls: yes, though only headers let it read the answer."""
    if _ORIGIN.search(origin):
        return _Reply(HTTPStatus.OK, "", b"")
    text = "Origin header is missing in CORS preflight"
    return _refusal(StatusError(grpc.StatusCode.FAILED_PRECONDITION, text))


def _reply(answer: Answer, record: Record | None, request: Request) -> _Reply:
    try:
        with recorded(record, request.method, request.path):
            text = answer(request)
        return _json_reply(HTTPStatus.OK, text)
    except StatusError as error:
        return _refusal(error)
    except Exception as error:  # a connection must be answered whatever happens
        return _refusal(unexpected(error))


def _refusal(error: StatusError) -> _Reply:
    status = _HTTP_STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    return _json_reply(status, error_document(error.text))


_OVERLOADED = replace(
    _refusal(StatusError(grpc.StatusCode.UNAVAILABLE, "Too many requests at once: try again")),
    headers=(("Retry-After", "1"),),
)


def _metrics(path: str, expected: str, monitoring: Callable[[], bytes]) -> _Reply:
    if path != expected:
        text = f"Unexpected path: {path}. Should be {expected}"
        return _Reply(HTTPStatus.BAD_REQUEST, "text/plain", text.encode())
    return _Reply(HTTPStatus.OK, "text/plain", monitoring())
