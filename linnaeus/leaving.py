"""The end of a process whose work is done, and of its temporary files."""

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from linnaeus.processes import identity, is_dead

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
