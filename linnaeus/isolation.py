"""Decoding in a child process, for a picture that may crash, hang or fill the decoder.

The child is an interpreter of its own (no fork, so threads of the parent do it no harm; nothing of
the parent's `__main__` is imported). Over its standard input it gets frames of
`<u64 length> <encoded picture>`, over its standard output it answers
`<u32 length> <u32 length> <JSON header> <pixels>`. It ends when its input does, that is with its
parent, and its own alarm ends it when a picture takes too long.
"""

import importlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np

from linnaeus.errors import ConfigurationError, FailureCode, ImageError
from linnaeus.images import Limits, Picture

Decode = Callable[[bytes, int, int, Limits], Picture]


@dataclass(frozen=True)
class _Task:
    """What a child is told on its command line."""

    decode: str
    height: int
    width: int
    limits: Limits
    timeout_seconds: float
    memory_bytes: int


class IsolatedDecoder:
    """`images.decode` in a child process; what kills the child is an ImageError(CRASHED).

    The child starts with the first picture and again after each that killed it. Usable from any
    thread, one picture at a time; POSIX only.
    """

    decode_function = "linnaeus.images:decode"

    def __init__(
        self,
        height: int,
        width: int,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        timeout_seconds: float = 60.0,
        memory_bytes: int = 2 << 30,
    ) -> None:
        self._task = _Task(
            self.decode_function, height, width, limits, timeout_seconds, memory_bytes
        )
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def decode(self, data: bytes) -> Picture:
        """Decode one picture; ImageError as `images.decode`, or CRASHED.

        Raises ConfigurationError when no child can be started at all.
        """
        with self._lock:
            if self._child is None:
                self._child = _start(self._task)
            try:
                return _ask(self._child, data)
            except ImageError:
                raise
            except (EOFError, BrokenPipeError) as e:
                ending = _ending(self._child.wait(), self._task.timeout_seconds)
                self._stop()
                raise ImageError(
                    f"decoding the picture {ending}: store it anew", FailureCode.CRASHED
                ) from e
            except BaseException:
                self._stop()  # interrupted: its answer would be taken for the next picture's
                raise

    def close(self) -> None:
        """End the child; the next picture starts another."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _ending(status: int, timeout_seconds: float) -> str:
    if status == -signal.SIGALRM:
        return f"took more than {timeout_seconds:g} seconds"
    if status < 0:
        return f"ended its process by {signal.Signals(-status).name}"
    return f"ended its process with status {status}"


def _start(task: _Task) -> "subprocess.Popen[bytes]":
    paths = [path or os.getcwd() for path in sys.path]  # noqa: PTH109 - what '' stands for
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "linnaeus.isolation", json.dumps(asdict(task))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # BLAS would reserve address space for a thread a core, and none is used.
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        _read_answer(child.stdout)  # type: ignore[arg-type]
    except EOFError as e:
        status = child.wait()
        raise ConfigurationError(
            f"no decoding process could be started with {task.memory_bytes:,} bytes of memory "
            f"(status {status}): see its standard error, or allow it more"
        ) from e
    return child


def _ask(child: "subprocess.Popen[bytes]", data: bytes) -> Picture:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(struct.pack("<Q", len(data)))
    child.stdin.write(data)
    child.stdin.flush()
    header, body = _read_answer(child.stdout)
    if "code" in header:
        raise ImageError(header["message"], FailureCode(header["code"]))
    pixels = np.frombuffer(body, np.uint8).reshape(header.pop("shape"))
    return Picture(pixels=pixels, **header)


def _read_answer(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    header_bytes, body_bytes = struct.unpack("<II", _read(stream, 8))
    return json.loads(_read(stream, header_bytes)), _read(stream, body_bytes)


def _read(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _serve(task: _Task) -> None:
    """The child: decode what comes in until nothing does."""
    answers = _own_stdout()
    _limit_resources(task.memory_bytes)
    decode = _resolve(task.decode)
    _write_answer(answers, {}, b"")
    while prefix := sys.stdin.buffer.read(8):
        data = _read(sys.stdin.buffer, *struct.unpack("<Q", prefix))
        signal.setitimer(signal.ITIMER_REAL, task.timeout_seconds)
        header, body = _answer(decode, data, task)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write_answer(answers, header, body)


def _answer(decode: Decode, data: bytes, task: _Task) -> tuple[dict[str, Any], bytes]:
    try:
        picture = decode(data, task.height, task.width, task.limits)
    except ImageError as e:
        return {"code": e.code, "message": str(e)}, b""
    header = {"width": picture.width, "height": picture.height, "format": picture.format}
    return header | {"shape": picture.pixels.shape}, picture.pixels.tobytes()


def _write_answer(stream: IO[bytes], header: dict[str, Any], body: bytes) -> None:
    text = json.dumps(header).encode()
    stream.write(struct.pack("<II", len(text), len(body)) + text + body)
    stream.flush()


def _own_stdout() -> IO[bytes]:
    """The pipe to the parent, out of reach of anything that prints."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _limit_resources(memory_bytes: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})


def _resolve(name: str) -> Decode:
    module, function = name.split(":")
    decode: Decode = getattr(importlib.import_module(module), function)
    return decode


def _main(text: str) -> None:
    values = json.loads(text)
    _serve(_Task(**values | {"limits": Limits(**values["limits"])}))


if __name__ == "__main__":
    _main(sys.argv[1])
