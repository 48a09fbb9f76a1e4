"""Which process is which, and which of them is dead beyond doubt."""

import os
from pathlib import Path

_ENDED = ("Z", "X")
"""States of a process that is over, though its parent has not asked how it ended."""


def identity() -> str:
    """A name that no other process ever has; empty where the system cannot tell (not Linux)."""
    _, started = _stat(os.getpid())
    return f"{_place()} {os.getpid()} {started}" if started else ""


def is_dead(name: object) -> bool:
    """Whether a process of that identity is dead for certain: False also where nobody can tell.

    Only its own machine, since its last start, and its own container can.
    """
    place, _, process = str(name).rpartition(" ")[0].rpartition(" ")
    return bool(place) and place == _place() and _is_gone(process, str(name).rpartition(" ")[2])


def _is_gone(pid: str, started: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    state, started_now = _stat(int(pid))
    return state in _ENDED or started_now not in ("", started)


def _place() -> str:
    """The machine's boot and the namespace of process ids, which together name a process once."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, str]:
    """State and start [ticks since the boot] of a process, or two empty words."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]
