"""What a launcher tells of its run while it waits: on a step, and in the run's `progress.json`.

Nothing here ends a job: what cannot be read or written now is tried again at the next look.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from linnaeus import layout
from linnaeus.errors import LinnaeusError
from linnaeus.planning import RunSpec
from linnaeus.progress import Step
from linnaeus.records import Counts
from linnaeus.runs import endings
from linnaeus.status.run_progress import RunProgress, RunState, committed, measure, of_counts
from linnaeus.storage import Folder, is_local
from linnaeus.worker import ReceiptReader

POLLING_SHARE = 0.2
"""At most this share of the time is spent on looking, however long one look takes."""


def poll_seconds(workspace: Folder) -> float:
    """Between two looks at the receipts: each is a listing."""
    return 0.3 if is_local(workspace.uri) else 3.0


def write_seconds(workspace: Folder) -> float:
    """Between two writings of `progress.json`; also where nothing moved, as a sign of life."""
    return 2.0 if is_local(workspace.uri) else 10.0


@contextmanager
def reported(
    workspace: Folder, run: RunSpec, receipts: ReceiptReader, step: Step
) -> Iterator["Reporter"]:
    """Tell how a run goes until the context is left: after its commit, or by what stopped it."""
    reporter = Reporter(workspace, run, receipts, step)
    reporter.begin()
    try:
        yield reporter
    except BaseException as error:
        reporter.end(RunState.STOPPED, _one_line(error))
        raise
    reporter.end(RunState.COMMITTED)


def tell_committed(workspace: Folder, run: RunSpec, counts: Counts) -> None:
    """Write into a run's progress that it was committed, by another than its launcher."""
    progress = replace(committed(run, counts), updated_at=datetime.now(UTC))
    with suppress(LinnaeusError):
        _write(workspace, progress)


def tell_handed_over(workspace: Folder, run: RunSpec) -> None:
    """Write into a run's progress, as a sign of life, that a runner's job has it now."""
    now = datetime.now(UTC)
    progress = replace(of_counts(run, []), state=RunState.HANDED_OVER, updated_at=now)
    with suppress(LinnaeusError):
        _write(workspace, progress)


def _write(workspace: Folder, progress: RunProgress) -> None:
    workspace.write(layout.progress(progress.run_id), progress.to_json().encode())


def _one_line(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    text = " ".join(str(error).split())
    return text if isinstance(error, LinnaeusError) else f"{type(error).__name__}: {text}"


class Reporter:
    """A thread that looks at a run's receipts and tells what it saw."""

    def __init__(
        self, workspace: Folder, run: RunSpec, receipts: ReceiptReader, step: Step
    ) -> None:
        self._workspace, self._run, self._receipts, self._step = workspace, run, receipts, step
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._written_at = 0.0
        self.since: datetime | None = None
        """When it began, by the store's clock."""

    def begin(self) -> None:
        """Write the first sign of life, and begin to look."""
        self._write(RunState.RUNNING)
        with suppress(LinnaeusError):
            written = self._workspace.head(layout.progress(self._run.run_id))
            self.since = written.modified if written else None
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._thread.start()

    def end(self, state: RunState, error: str | None = None) -> None:
        """Write how it ended; another launcher's commit counts more than this one's error."""
        self._ended.set()
        self._thread.join(timeout=10)
        if state is RunState.STOPPED and self._is_committed():
            state, error = RunState.COMMITTED, None
        with suppress(Exception):
            self._receipts.poll()
        self._write(state, error)

    def seen(self) -> RunProgress:
        """How far the run is, by the receipts that were read so far."""
        return measure(self._run, self._receipts.arrived, self.since, datetime.now(UTC))

    def _watch(self) -> None:
        wait_seconds = poll_seconds(self._workspace)
        while not self._ended.wait(wait_seconds):
            began = time.monotonic()
            with suppress(Exception):  # such as a file cut short; the next look may succeed
                self._tell()
            took_seconds = time.monotonic() - began
            wait_seconds = max(poll_seconds(self._workspace), took_seconds / POLLING_SHARE)

    def _tell(self) -> None:
        self._receipts.poll()
        seen = self.seen()
        self._step.update(seen.finished, seen.failed, seen.figures)
        if time.monotonic() >= self._written_at + write_seconds(self._workspace):
            self._write(RunState.RUNNING)

    def _write(self, state: RunState, error: str | None = None) -> None:
        progress = replace(self.seen(), state=state, error=error)
        if state is not RunState.RUNNING:
            progress = replace(progress, seconds_left=None)
        with self._writing, suppress(LinnaeusError):
            if state is RunState.RUNNING and self._ended.is_set():
                return  # the last word is another
            _write(self._workspace, progress)
            self._written_at = time.monotonic()

    def _is_committed(self) -> bool:
        with suppress(LinnaeusError):
            endings.counts_of(self._workspace, self._run.run_id)
            return True
        return False
