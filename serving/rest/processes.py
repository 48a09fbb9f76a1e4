"""Processes that read large bodies and write large answers, off this interpreter's lock.

A parser makes an object of each number under the lock: 15 MB of them take it for seconds, and
many times their size in memory. A process that takes too much of it ends, and costs its request.
"""

import contextlib
import gc
import os
import queue
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc

from serving.grpc_status import StatusError, invalid_argument, unexpected

_HERE_BYTES = 64 * 1024
_MEMORY_FACTOR = 20
"""Address space of a process for each byte of a body; numbers in lists of three need 13."""
_KEPT_BYTES = 16 * 1024 * 1024
"""A process ends after work on more than these, for it would keep the memory."""
_DEPTH = 1_000_000
_STACK_BYTES = 512 * 1024 * 1024
_OWN_BYTES = 2 * _STACK_BYTES
"""Address space that a process has before it reads."""


class Processes:
    """Does small work in the thread that asks, other work in one of a few processes."""

    def __init__(self, max_body_bytes: int) -> None:
        self._memory_bytes = _OWN_BYTES + _MEMORY_FACTOR * max_body_bytes
        self._free: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(max(1, (os.cpu_count() or 1) // 2)):
            self._free.put(None)

    def run(self, size: int, work: Callable[..., Any], *args: Any) -> Any:
        """What a function of a module returns for arguments of so many bytes.

        Raises:
            StatusError: as the function does; RESOURCE_EXHAUSTED, it takes too much memory.
        """
        if size <= _HERE_BYTES:
            with contextlib.suppress(RecursionError):
                return work(*args)
        process = self._free.get()
        is_kept = False
        try:
            if process is None or process.has_ended():
                process = _Process(self._memory_bytes)
            answer = process.ask(work, args)
            is_kept = size <= _KEPT_BYTES
        except (OSError, EOFError) as error:
            raise StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Out of memory") from error
        finally:
            if process and not is_kept:
                process.stop()
            self._free.put(process if is_kept else None)
        if isinstance(answer, StatusError):
            raise answer
        return answer

    def close(self) -> None:
        """End the processes that are at rest; others end with this one."""
        with contextlib.suppress(queue.Empty):
            while True:
                if process := self._free.get_nowait():
                    process.stop()


class _Process:
    def __init__(self, memory_bytes: int) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(memory_bytes)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
                # Ctrl-C is for the server, which lets requests under way finish.
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def ask(self, work: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        self._connection.send((work, args))
        return self._connection.recv()

    def stop(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


def _answer(work: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return work(*args)
    except StatusError as error:
        return error
    except RecursionError:
        return invalid_argument("JSON Parse error: the document is nested too deeply")
    except Exception as error:  # the process goes on with the next
        return unexpected(error)


def _serve() -> None:
    # It ends with the process that asks, however that ends, and where memory does.
    with contextlib.suppress(OSError, EOFError, MemoryError), Connection(0) as connection:
        while True:
            connection.send(_answer(*connection.recv()))


def _main() -> None:
    # JSON has no cycles, and looking for them takes most of the time.
    gc.disable()
    with contextlib.suppress(ValueError, OSError):  # not every system can
        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
        # Where the machine's memory ends before, not the server is to go.
        Path("/proc/self/oom_score_adj").write_text("1000")
    sys.setrecursionlimit(_DEPTH)
    threading.stack_size(_STACK_BYTES)
    threading.Thread(target=_serve).start()


if __name__ == "__main__":
    _main()
