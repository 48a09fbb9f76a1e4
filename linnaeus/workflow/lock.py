"""One night of a workflow at a time: who has the turn, and what others do meanwhile."""

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

TURN = timedelta(minutes=2)
"""Whoever has shown no sign of life for so long has lost the turn."""
_SIGNS = 6
"""Of life, within that time."""
LOOK_SECONDS = 5.0


class AnotherNight(LinnaeusError):  # noqa: N818 - what is the case
    """Another run of the workflow has the turn."""


@dataclass(frozen=True)
class Turn:
    """Whose turn is asked for."""

    workspace: Folder
    workflow: str
    night: str
    schedule: Schedule
    lasts: timedelta = TURN

    @property
    def lease(self) -> str:
        """Its name."""
        return f"night-{self.workflow}"


@contextmanager
def taken(turn: Turn, progress: Progress) -> Iterator[None]:
    """Have the turn while the context lasts.

    A command of the very night that has the turn, such as one that a scheduler tries again after
    its process died, waits in any case.

    Raises:
        AnotherNight: somebody else has it and does not let go, or one is not to wait.
    """
    began = time.monotonic()
    while True:
        with leases.leased(turn.workspace, turn.lease, turn.lasts, {"night": turn.night}) as mine:
            if mine:
                with _kept(mine, turn.lasts):
                    yield
                return
        _wait(turn, progress, time.monotonic() - began)


def _wait(turn: Turn, progress: Progress, waited_seconds: float) -> None:
    holder = leases.holder(turn.workspace, turn.lease)
    if holder is None:
        return
    same = holder.get("night") == turn.night
    who = (
        f"night {holder.get('night')} of {turn.workflow} is going on "
        f"(process {holder.get('process')} on {holder.get('host')})"
    )
    patience = turn.schedule.wait_minutes * 60
    if turn.schedule.overlap == "leave":
        if not same:
            raise AnotherNight(f"{who}: leaving; nothing was done")
        patience = turn.lasts.total_seconds() + 2 * LOOK_SECONDS
    if waited_seconds > patience:
        raise AnotherNight(
            f"{who} still, after {waited_seconds / 60:.0f} minutes: nothing was done"
        )
    with progress.step("Wait", None) as step:
        step.note(who)
        time.sleep(min(LOOK_SECONDS, turn.lasts.total_seconds() / _SIGNS))


@contextmanager
def _kept(mine: Lease, lasts: timedelta) -> Iterator[None]:
    over = threading.Event()

    def renew() -> None:
        while not over.wait(lasts.total_seconds() / _SIGNS):
            try:
                mine.renew()
            except LeaseLost:
                return  # this process slept: what must not be done twice is decided elsewhere
            except LinnaeusError:
                continue

    thread = threading.Thread(target=renew, name="night", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
