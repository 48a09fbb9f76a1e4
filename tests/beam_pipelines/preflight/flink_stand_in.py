"""A server that answers as Flink 1.19.3 does over REST, as far as it was recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

VERSION = "1.19.3"


@contextmanager
def flink(managers: dict[str, tuple[int, int, int]], version: str = VERSION) -> Iterator[str]:
    """A cluster at `host:port`; from a task manager's id to slots, segments, bytes of network."""
    answers = {
        "/config": {"refresh-interval": 3000, "flink-version": version},
        "/taskmanagers": {"taskmanagers": [{"id": name} for name in managers]},
    }
    for name, (slots, segments, network_bytes) in managers.items():
        answers[f"/taskmanagers/{name}"] = {
            "id": name,
            "slotsNumber": slots,
            "freeSlots": slots,
            "memoryConfiguration": {"networkMemory": network_bytes},
            "metrics": {"nettyShuffleMemorySegmentsTotal": segments},
        }
    with serving(answers) as address:
        yield address


@contextmanager
def serving(answers: dict[str, object]) -> Iterator[str]:
    """A server of JSON by path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answers.get(self.path)).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
