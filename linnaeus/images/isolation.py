"""Decoding in child processes: what an unknown picture costs in time and memory, it costs there.

Every picture is decoded here, on the first attempt too: some crash, hang or fill their decoder, and
none says so beforehand. A process has as many children as processors, shared by its threads; each
starts when it is first needed and again after a picture that ended it.

The child is an interpreter of its own (no fork, so threads of the parent do it no harm; nothing of
the parent's `__main__` is imported). Over its standard input it gets frames of
`<u64 length> <u32 height> <u32 width> <encoded picture>`, over its standard output it answers
`<u32 length> <u32 length> <JSON header> <pixels>`. It ends when its input does, that is with its
parent, and its own timers end it when a picture takes too long.
"""

import atexit
import importlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from queue import Empty, LifoQueue
from typing import IO, Any

import numpy as np

from linnaeus.errors import ConfigurationError, FailureCode, ImageError
from linnaeus.images.decoding import Limits, Picture
from linnaeus.process import processors

Decode = Callable[[bytes, int, int, Limits], Picture]

DECODERS = max(2, processors())
"""Children of a process; one that is busy for long holds up no other picture."""
_HANGS = 4
"""A picture that takes so many times its limit by the clock hangs, however busy the machine is."""
_ENVIRONMENT = {
    # BLAS would reserve address space for a thread a core, and none is used.
    "OPENBLAS_NUM_THREADS": "1",
    # glibc would give memory back after each picture, and take it anew page by page for the next.
    "MALLOC_MMAP_THRESHOLD_": str(8 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
}
_IN_TIME = (signal.SIGPROF, signal.SIGALRM)


class _Killed(ImageError):  # noqa: N818 - what is the case
    """From outside, as by a system that is short of memory: the picture may be innocent."""


@dataclass(frozen=True)
class _Task:
    """What a child is told on its command line."""

    decode: str
    limits: Limits


def decode(data: bytes, height: int, width: int) -> Picture:
    """`images.decode` in one of this process's children, from any thread.

    Raises ImageError as `images.decode`; TOO_LARGE also for what takes more time or memory than
    its limits, and CRASHED for what kills the child. Raises ConfigurationError when no child can
    be started at all.
    """
    idle = _POOL.idle
    child = idle.get()
    try:
        try:
            return child.decode(data, height, width)
        except _Killed:
            return child.decode(data, height, width)
    finally:
        idle.put(child)


class IsolatedDecoder:
    """One child; usable from any thread, one picture at a time. POSIX only."""

    decode_function = "linnaeus.images.decoding:decode"

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._task = _Task(self.decode_function, limits)
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def decode(self, data: bytes, height: int, width: int) -> Picture:
        """As the module's `decode`."""
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                self._stop()
                self._child = _start(self._task)
            try:
                return _ask(self._child, data, height, width)
            except ImageError:
                raise
            except (EOFError, BrokenPipeError) as e:
                status = self._child.wait()
                self._stop()
                raise _refusal(status, self._task.limits) from e
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


class _Pool:
    """As many children as may be at work; the one used last comes first, so few are started."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew: a forked process must not talk to its parent's children."""
        self.idle: LifoQueue[IsolatedDecoder] = LifoQueue()
        for _ in range(DECODERS):
            self.idle.put(IsolatedDecoder())

    def close(self) -> None:
        """End those that are idle; the others end with their input."""
        with suppress(Empty):
            while True:
                self.idle.get_nowait().close()


_POOL = _Pool()
os.register_at_fork(after_in_child=_POOL.renew)
atexit.register(_POOL.close)


def _refusal(status: int, limits: Limits) -> ImageError:
    if -status in _IN_TIME:
        return ImageError(
            f"decoding the picture took more than {limits.seconds:g} seconds: store it smaller",
            FailureCode.TOO_LARGE,
        )
    ending = f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
    kind = _Killed if -status == signal.SIGKILL else ImageError
    return kind(
        f"decoding the picture ended its process {ending}: store it anew", FailureCode.CRASHED
    )


def _start(task: _Task) -> "subprocess.Popen[bytes]":
    paths = [path or os.getcwd() for path in sys.path]  # noqa: PTH109 - what '' stands for
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "linnaeus.images", json.dumps(asdict(task))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    )
    try:
        _read_answer(child.stdout)  # type: ignore[arg-type]
    except EOFError as e:
        status = child.wait()
        raise ConfigurationError(
            f"no decoding process could be started with {task.limits.memory_bytes:,} bytes of "
            f"memory (status {status}): see its standard error"
        ) from e
    return child


def _ask(child: "subprocess.Popen[bytes]", data: bytes, height: int, width: int) -> Picture:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(struct.pack("<QII", len(data), height, width))
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
    _limit_resources(task.limits.memory_bytes)
    decode = _resolve(task.decode)
    _write_answer(answers, {}, b"")
    while prefix := sys.stdin.buffer.read(16):
        length, height, width = struct.unpack("<QII", prefix)
        data = _read(sys.stdin.buffer, length)
        signal.setitimer(signal.ITIMER_PROF, task.limits.seconds)
        signal.setitimer(signal.ITIMER_REAL, task.limits.seconds * _HANGS)
        header, body = _answer(partial(decode, data, height, width, task.limits))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write_answer(answers, header, body)


def _answer(decode: Callable[[], Picture]) -> tuple[dict[str, Any], bytes]:
    try:
        picture = decode()
    except ImageError as e:
        return {"code": e.code, "message": str(e)}, b""
    header = {"width": picture.width, "height": picture.height, "format": picture.format}
    return header | {"shape": picture.pixels.shape}, picture.pixels.tobytes()


def _write_answer(stream: IO[bytes], header: dict[str, Any], body: bytes) -> None:
    text = json.dumps(header).encode()
    stream.write(struct.pack("<II", len(text), len(body)) + text + body)
    stream.flush()


def _own_stdout() -> IO[bytes]:
    """The pipe to the parent, out of reach of anything that prints.

    What native libraries write of a picture, unescaped, is nobody's; Python's own errors are shown.
    """
    answers = os.fdopen(os.dup(1), "wb")
    sys.stderr = os.fdopen(os.dup(2), "w")
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    return answers


def _limit_resources(memory_bytes: int) -> None:
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or most > memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in _IN_TIME:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IN_TIME)


def _resolve(name: str) -> Decode:
    module, function = name.split(":")
    decode: Decode = getattr(importlib.import_module(module), function)
    return decode


def serve(text: str) -> None:
    """What a child does from its start to its end; `text` is its task."""
    values = json.loads(text)
    with suppress(EOFError, BrokenPipeError):  # the parent ended half-way
        _serve(_Task(**values | {"limits": Limits(**values["limits"])}))
    os._exit(0)
