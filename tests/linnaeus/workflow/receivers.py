"""A receiver of notifications and metrics: a real HTTP server on loopback, with set answers."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HANG = -1
"""In place of a status: no answer."""
DRIP = -2
"""In place of a status: an answer of which a byte comes now and then, and never the last one."""


@dataclass
class Receiver:
    """What came, and what is answered: each status once, the last one again and again."""

    url: str = ""
    answers: list[int] = field(default_factory=lambda: [200])
    came: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    """(method, path, headers with names in lower case, body)"""
    hang_seconds: float = 2.0

    def next_answer(self) -> int:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def receiver(*answers: int) -> Iterator[Receiver]:
    """A server on a free port of 127.0.0.1."""
    told = Receiver(answers=list(answers) or [200])

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.came.append((self.command, self.path, headers, self.rfile.read(length)))
            status = told.next_answer()
            if status == HANG:
                time.sleep(told.hang_seconds)
                return
            if status == DRIP:
                self.drip()
                return
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{told.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def drip(self) -> None:
            ending = time.monotonic() + told.hang_seconds
            with suppress(OSError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                while time.monotonic() < ending:
                    self.wfile.write(b"x")
                    time.sleep(0.02)

        do_POST = do_PUT = do_GET = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
