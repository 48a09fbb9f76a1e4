"""Which process is which, which of them is dead beyond doubt (only Linux tells), and their end."""

import os
import subprocess
from pathlib import Path
from typing import Any


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


def stop(process: "subprocess.Popen[Any]", patience_seconds: float) -> None:
    """End a process, by force if it does not end in time."""
    process.terminate()
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
