"""The log of a local Delta table, which delta-rs leaves to the kernel to write to the disk."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

import pyarrow.parquet as pq

from linnaeus.errors import DamagedFile
from linnaeus.storage import flush

_ENTRY = re.compile(r"\d{20}(\.checkpoint.*\.parquet|\.json)")
_LAST_CHECKPOINT = "_last_checkpoint"


def make_durable(table: Path, workspace: Path) -> None:
    """Have what a commit needs on the disk, before anything says that it is made.

    The log from the newest checkpoint on, the parts that delta-rs wrote itself, which lie directly
    in the table's folder, and all folders up to the workspace's.
    """
    log = table / "_delta_log"
    folders = takewhile(lambda folder: folder != workspace.parent, (log, *log.parents))
    for path in (*table.glob("*.parquet"), *_entries(log), log / _LAST_CHECKPOINT, *folders):
        flush(path)


@contextmanager
def whole(uri: str) -> Iterator[None]:
    """Refuse a log whose end was lost with the power; delta-rs passes over an entry that is empty.

    Raises:
        DamagedFile: one of its files is cut short.
    """
    log = Path(uri, "_delta_log")  # of a remote table, whose files are whole, nothing is there
    _refuse_cut(log, lambda path: path.stat().st_size > 0)
    try:
        yield
    except Exception:
        _refuse_cut(log, _is_readable)
        raise


def _refuse_cut(log: Path, is_whole: Callable[[Path], bool]) -> None:
    for path in _entries(log):
        if not is_whole(path):
            more = "" if path.suffix == ".parquet" else "what has a higher number, "
            raise DamagedFile(
                f"{path} was cut short, as by a loss of power: delete it, {more}and "
                f"{_LAST_CHECKPOINT} beside it; whatever needs what they held does it again"
            )


def _entries(log: Path) -> list[Path]:
    """The files from the newest checkpoint on, oldest first: what a reader reads."""
    names = sorted(path.name for path in log.glob("*") if _ENTRY.fullmatch(path.name))
    newest = max((name for name in names if "checkpoint" in name), default="")
    return [log / name for name in names if name[:20] >= newest[:20]]


def _is_readable(path: Path) -> bool:
    with suppress(ValueError):
        if path.suffix == ".parquet":
            pq.read_metadata(path)
        else:
            [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return True
    return False
