"""Downloads made by other libraries: bounded in time, and never on standard output."""

import contextlib
import socket
import sys
from collections.abc import Iterator

TIMEOUT_SECONDS = 30.0


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """While inside, a silent server is given up, and what is printed goes to standard error.

    The libraries offer no timeout of their own; this sets the process's default for new sockets.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)
