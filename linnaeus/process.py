"""Processes, this one and others: silence, interrupts, temporary files, their end, who is alive."""

import fcntl
import importlib
import importlib.util
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnaeus.errors import ConfigurationError
from linnaeus.plain_text import one_line

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "NONE",
    "PYTHONWARNINGS": "ignore",
}


def silence_libraries() -> None:
    """Show only what this program says; call it before TensorFlow, gRPC or Beam is imported.

    What goes wrong arrives as an exception, so nothing is lost with the logs. Child processes
    inherit the silence, and what a person has set in the environment stays.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    _drop_native_messages()


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which writes to the home folder and calls home.

    OpenVINO and NNCF do without when `openvino_telemetry` is not importable.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _drop_native_messages() -> None:
    """Keep `sys.stderr` where it is and send file descriptor 2 to nowhere.

    TensorFlow logs while its library is loaded, before it reads any setting, so nothing milder
    helps.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(
        terminal, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace"
    )


def refuse_hidden_packages() -> None:
    """Refuse a module of somebody's that is found in place of a package of this project.

    Raises:
        ConfigurationError: there is one.
    """
    for name in ("beam_pipelines", "serving"):
        origin = getattr(importlib.util.find_spec(name), "origin", None) or ""
        if origin and Path(origin).resolve().parent != Path(__file__).resolve().parents[1] / name:
            raise ConfigurationError(
                f"{origin} hides linnaeus's own package {name}: rename it, or start elsewhere"
            )


def run_program(main: Callable[[], None]) -> None:
    """Run a job as a program: the libraries are silent, and an error is one line, status 1."""
    silence_libraries()
    own_temporary_files()
    try:
        main()
    except Exception as error:
        print(one_line(error), file=sys.stderr)
        leave_at_once(1)
    leave_at_once(0)


def processors() -> int:
    """How many processors this process may use: its affinity, and its control group's quota."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return allowed
    if quota == "max":
        return allowed
    return max(1, min(allowed, round(int(quota) / int(period))))


AGAIN_SECONDS = 0.05
"""Until the interrupted callback has surely returned."""


def keep_interrupts() -> None:
    """Interrupt once more where Python drops an interruption, with a traceback, and goes on.

    It does so where Ctrl-C strikes in a finaliser or the callback of a weak reference, of which
    TensorFlow has many: nothing can be raised from there.
    """
    told = sys.unraisablehook

    def hook(unraisable: "UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            again = threading.Timer(AGAIN_SECONDS, _interrupt_main_thread)
            again.daemon = True
            again.start()
        else:
            told(unraisable)

    sys.unraisablehook = hook


def _interrupt_main_thread() -> None:
    """By a signal, which also ends a wait of the main thread."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


_OWNER = ".owner"

_own: list[Path] = []


def own_temporary_files() -> None:
    """Have them, and those of child processes, in a folder that goes when this process leaves.

    Libraries leave theirs to an interpreter's end that does not come. Folders of processes that
    were killed go now.
    """
    with suppress(OSError):  # no room for a folder: whoever needs a file says so
        for owner in Path(tempfile.gettempdir()).glob(f"linnaeus-*/{_OWNER}"):
            if is_dead(owner.read_text(errors="replace")):
                shutil.rmtree(owner.parent, ignore_errors=True)
        _own.append(Path(tempfile.mkdtemp(prefix="linnaeus-")))
        (_own[0] / _OWNER).write_text(identity())
        tempfile.tempdir = os.environ["TMPDIR"] = str(_own[0])


def share_temporary_files() -> None:
    """Let those that come from now on outlive this process."""
    if _own:
        tempfile.tempdir = os.environ["TMPDIR"] = str(_own[0].parent)


def leave_at_once(status: int) -> None:
    """End the process without taking the interpreter apart.

    Threads of native libraries that are still at work then abort it now and again, after
    everything is done, and those of a run that was broken off would be waited for.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    for folder in _own:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(status)


def identity(pid: int | str = "") -> str:
    """A name that no other process has: boot, namespace, id and start; empty of one that ended."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        text = Path(f"/proc/{pid or os.getpid()}/stat").read_text(errors="replace")
    except OSError:
        return ""
    state, *more = text.rpartition(")")[2].split()
    return "" if state in "ZX" else f"{boot} {namespace} {pid or os.getpid()} {more[18]}"


def is_dead(name: object) -> bool:
    """Whether a process of that identity is dead for certain: False also where nobody can tell.

    Only its own machine, since its last start, and its own container can.
    """
    place, pid, *_ = [*str(name).rsplit(" ", 2), ""]
    if not place or place != identity().rsplit(" ", 2)[0]:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):
        return False  # another person's, whom this one may not see
    return identity(pid) != name


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Only one process of this machine at a time is inside; one that is killed leaves."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stop(process: "subprocess.Popen[Any]", patience_seconds: float) -> None:
    """End a process, by force if it does not end in time."""
    process.terminate()
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
