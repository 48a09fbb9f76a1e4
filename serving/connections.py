"""How many connections a server keeps, and which it gives up for others."""

import math
import resource
import socket
import threading
import time
from contextlib import suppress

_MOST = 1024
_GRACE_SECONDS = 1.0


def most_connections() -> int:
    """For each of gRPC and REST: a third of the file descriptors, as models need some, too."""
    return min(_MOST, max(8, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3))


class Connections:
    """Open sockets, and until when each must have sent what it owes; thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._open: dict[socket.socket, tuple[float, float]] = {}

    def expect(self, connection: socket.socket, seconds: float = math.inf) -> None:
        """Give a connection so long for the next thing, or leave it alone."""
        now = time.monotonic()
        with self._lock:
            self._open[connection] = now, now + seconds

    def forget(self, connection: socket.socket) -> None:
        """It is closed."""
        with self._lock:
            self._open.pop(connection, None)

    def close_late(self) -> None:
        """End the connections whose time is up."""
        now = time.monotonic()
        with self._lock:
            for connection in [one for one, (_, until) in self._open.items() if until < now]:
                self._close(connection)

    def make_room(self) -> bool:
        """Whether one more is let in, if need be for one that has been silent the longest."""
        with self._lock:
            if len(self._open) < self._most:
                return True
            silent = {one: since for one, (since, until) in self._open.items() if until < math.inf}
            oldest = min(silent, key=silent.__getitem__, default=None)
            if oldest is None or silent[oldest] > time.monotonic() - _GRACE_SECONDS:
                return False
            self._close(oldest)
        return True

    def _close(self, connection: socket.socket) -> None:
        """End one, under the lock; its thread reads the end, and closes it."""
        del self._open[connection]
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
