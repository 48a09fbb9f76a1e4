"""One run of a workflow at a time: who holds the lock, and what others do meanwhile."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from linnaeus.errors import LinnaeusError
from linnaeus.progress import Progress
from linnaeus.storage import Folder, Lease, LeaseLost, leases
from linnaeus.workflow.file.config import Schedule

LOCK_EXPIRY = timedelta(minutes=2)
"""A holder that has not renewed the lock for this long has lost it."""
_RENEWALS = 6
"""Within that time."""
POLL_SECONDS = 5.0


class WorkflowLocked(LinnaeusError):  # noqa: N818 - what is the case
    """Another run of the workflow holds the lock."""


@dataclass(frozen=True)
class WorkflowLock:
    """The lock of a workflow, as one of its runs asks for it."""

    workspace: Folder
    workflow: str
    workflow_run: str
    schedule: Schedule
    expiry: timedelta = LOCK_EXPIRY

    @property
    def lease(self) -> str:
        """Its name."""
        return f"workflow-{self.workflow}"


@contextmanager
def locked(lock: WorkflowLock, progress: Progress) -> Iterator[None]:
    """Hold the lock while the context lasts.

    A command of the very run that holds the lock, such as one that a scheduler tries again after
    its process died, waits in any case.

    Raises:
        WorkflowLocked: another run holds it and does not let go, or this one is not to wait.
    """
    began = time.monotonic()
    holder = {"workflow_run": lock.workflow_run}
    while True:
        with leases.leased(lock.workspace, lock.lease, lock.expiry, holder) as lease:
            if lease:
                with _renewed(lease, lock.expiry):
                    yield
                return
        _wait(lock, progress, time.monotonic() - began)


def _wait(lock: WorkflowLock, progress: Progress, waited_seconds: float) -> None:
    holder = leases.holder(lock.workspace, lock.lease)
    if holder is None:
        return
    running = holder.note.get("workflow_run")
    same = running == lock.workflow_run
    who = (
        f"run {running} of {lock.workflow} is going on (process {holder.process} on {holder.host})"
    )
    limit_seconds = lock.schedule.wait_minutes * 60
    if lock.schedule.overlap == "leave":
        if not same:
            raise WorkflowLocked(f"{who}: leaving; nothing was done")
        limit_seconds = lock.expiry.total_seconds() + 2 * POLL_SECONDS
    if waited_seconds > limit_seconds:
        raise WorkflowLocked(
            f"{who} still, after {waited_seconds / 60:.0f} minutes: nothing was done"
        )
    with progress.step("Wait", None) as step:
        step.note(who)
        time.sleep(min(POLL_SECONDS, lock.expiry.total_seconds() / _RENEWALS))


@contextmanager
def _renewed(lease: Lease, expiry: timedelta) -> Iterator[None]:
    over = threading.Event()

    def renew() -> None:
        while not over.wait(expiry.total_seconds() / _RENEWALS):
            try:
                lease.renew()
            except LeaseLost:
                return  # this process slept: what must not be done twice is decided elsewhere
            except LinnaeusError:
                continue

    thread = threading.Thread(target=renew, name="workflow lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
