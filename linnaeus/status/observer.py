"""Following a run from anywhere: by its receipts, and by what its launcher wrote of it."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from linnaeus import layout, runs
from linnaeus.errors import ConfigurationError
from linnaeus.planning import plans
from linnaeus.records import Counts
from linnaeus.runs import endings
from linnaeus.status.reporter import poll_seconds
from linnaeus.status.run_progress import (
    RunProgress,
    RunState,
    committed,
    is_alive,
    measure,
    trouble,
)
from linnaeus.storage import Folder
from linnaeus.worker import ReceiptReader

READERS = 16
_CLAIM = re.compile(rf"{layout.RUN_INDEX}/[0-9a-f]{{32}}/[0-9]{{8}}")


@dataclass(frozen=True)
class RunStatus:
    """A run at one look: how far it is, what is wrong with it, whether its launcher is at work."""

    progress: RunProgress
    trouble: str | None = None
    alive: bool = False


@dataclass(frozen=True)
class Heartbeat:
    """What a launcher last wrote, and when, by the store's clock."""

    progress: RunProgress
    written_at: datetime


class Observer:
    """Looks at one run; what it has read it does not read again."""

    def __init__(self, workspace: Folder, run_id: str) -> None:
        plan = workspace.head(layout.plan(run_id))
        if plan is None:
            if workspace.head(layout.summary(run_id)):
                endings.require_committed(workspace, run_id)
                raise ConfigurationError(
                    f"run {run_id} is a training: `linnaeus report {run_id}` tells of it"
                )
            raise ConfigurationError(
                f"there is no run {run_id} in {workspace.uri}; `linnaeus status` lists them"
            )
        self._workspace, self._planned_at = workspace, plan.modified
        self.run = plans.read_spec(workspace, run_id)
        self.receipts = ReceiptReader(workspace, self.run)

    def poll(self) -> RunStatus:
        """How far the run is now.

        Raises:
            StorageError: the workspace cannot be read.
        """
        counts = committed_counts(self._workspace, self.run.run_id)
        if counts is None:
            return self._under_way()
        return RunStatus(committed(self.run, counts))

    def _under_way(self) -> RunStatus:
        now = datetime.now(UTC)
        heartbeat = last_heartbeat(self._workspace, self.run.run_id)
        since = (
            heartbeat.progress.started_at or heartbeat.written_at if heartbeat else self._planned_at
        )
        progress = measure(self.run, self.receipts.poll(), since, now)
        if heartbeat and _said_stopped(heartbeat, progress):
            error = heartbeat.progress.error
            return RunStatus(
                replace(progress, state=RunState.STOPPED, error=error, seconds_left=None)
            )
        if heartbeat and heartbeat.progress.state is RunState.HANDED_OVER:
            progress = replace(progress, state=RunState.HANDED_OVER)
        heard_at = heartbeat.written_at if heartbeat else None
        wrong = trouble(progress, heard_at, now)
        if wrong:
            progress = replace(progress, objects_per_second=None, seconds_left=None)
        return RunStatus(progress, wrong, is_alive(heard_at, now))


def _said_stopped(heartbeat: Heartbeat, progress: RunProgress) -> bool:
    """Whether the launcher's last word is its end, and nobody went on with the work since."""
    if heartbeat.progress.state is not RunState.STOPPED:
        return False
    return progress.last_shard_at is None or progress.last_shard_at <= heartbeat.written_at


def follow(workspace: Folder, run_id: str) -> Iterator[RunStatus]:
    """Look at a run again and again, until it is committed or its launcher has stopped."""
    observer = Observer(workspace, run_id)
    while True:
        status = observer.poll()
        yield status
        if status.progress.state in (RunState.COMMITTED, RunState.STOPPED):
            return
        time.sleep(poll_seconds(workspace))


def committed_counts(workspace: Folder, run_id: str) -> Counts | None:
    """The counts of a committed run; None of one that is under way.

    Raises:
        ConfigurationError: the run was given up.
    """
    if workspace.head(layout.summary(run_id)) is None:
        return None
    return endings.counts_of(workspace, run_id)


def last_heartbeat(workspace: Folder, run_id: str) -> Heartbeat | None:
    """What the run's launcher last wrote of it; None where it never wrote."""
    written = workspace.head(layout.progress(run_id))
    said = RunProgress.read_if_sound(workspace, layout.progress(run_id))
    return Heartbeat(said, written.modified) if written and said else None


def unfinished(workspace: Folder) -> list[str]:
    """Ids of the runs that are claimed and not committed, newest first.

    Of each job over each source at most the newest is. A folder with a plan that the index does
    not name is what was left of a command that ended before it could claim its run.
    """
    newest: dict[str, str] = {}
    for entry in workspace.list(layout.RUN_INDEX):
        if not _CLAIM.fullmatch(entry.key):
            continue
        folder = entry.key.rpartition("/")[0]
        newest[folder] = max(newest.get(folder, ""), entry.key)
    with ThreadPoolExecutor(READERS) as pool:
        ids = pool.map(lambda key: _unless_committed(workspace, key), newest.values())
        return sorted({run_id for run_id in ids if run_id}, reverse=True)


def _unless_committed(workspace: Folder, claim: str) -> str | None:
    run_id = runs.claimed(workspace, claim)
    return None if run_id is None or runs.is_over(workspace, run_id) else run_id
