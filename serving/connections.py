"""How many connections a server keeps, and which it gives up for others."""

import math
import resource
import socket
import threading
import time
from collections.abc import Callable
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
        self._close(lambda since, until: until < now)

    def make_room(self) -> bool:
        """Whether one more is let in, if need be for one that has been silent the longest."""
        with self._lock:
            is_full = len(self._open) >= self._most
            silent = [since for since, until in self._open.values() if until < math.inf]
        if not is_full:
            return True
        oldest = min(silent, default=math.inf)
        if oldest > time.monotonic() - _GRACE_SECONDS:
            return False
        self._close(lambda since, until: since == oldest and until < math.inf)
        return True

    def _close(self, is_meant: Callable[[float, float], bool]) -> None:
        with self._lock:
            meant = [one for one, times in self._open.items() if is_meant(*times)]
            for connection in meant:
                del self._open[connection]
                # Its thread reads the end, and closes it.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
