"""One run in particular: how far it is, and what could not be done."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow.compute as pc

from linnaeus import layout
from linnaeus.planning import RunSpec
from linnaeus.records import FAILURES, Counts
from linnaeus.status.observer import Observer, RunStatus, committed_counts
from linnaeus.status.run_progress import RunState
from linnaeus.storage import Folder
from linnaeus.tables import Table, parts

SHOWN = ("uri", "code", "message", "attempt")


@dataclass(frozen=True)
class RunDetails:
    """A run, its failures by code, and some of them."""

    run: RunSpec
    status: RunStatus
    codes: dict[str, int]
    failures: list[dict[str, Any]]
    """With `uri`, `code`, `message` and `attempt`."""


def describe(workspace: Folder, run_id: str, failures: int) -> RunDetails:
    """A run as it is now, with at most so many of its failures.

    Raises:
        ConfigurationError: there is no such run.
    """
    observer = Observer(workspace, run_id)
    status = observer.poll()
    committed = status.progress.state is RunState.COMMITTED
    rows = (
        _committed_rows(workspace, run_id) if committed else _uncommitted_rows(workspace, observer)
    )
    some = islice(rows, failures) if status.progress.failed and failures else ()
    return RunDetails(observer.run, status, _codes(workspace, observer), list(some))


def _codes(workspace: Folder, observer: Observer) -> dict[str, int]:
    """From the summary, or the receipts that the observer has read."""
    counts = committed_counts(workspace, observer.run.run_id)
    if counts is not None:
        return counts.codes
    return sum((one.receipt.counts for one in observer.receipts.arrived), Counts()).codes


def _committed_rows(workspace: Folder, run_id: str) -> Iterator[dict[str, Any]]:
    table = Table(workspace, layout.FAILURES, FAILURES)
    for batch in table.scan(SHOWN, pc.field("run_id") == run_id):
        yield from batch.to_pylist()


def _uncommitted_rows(workspace: Folder, observer: Observer) -> Iterator[dict[str, Any]]:
    """From the parts that the receipts name: the table does not have them yet."""
    for arrival in observer.receipts.arrived:
        if part := arrival.receipt.parts.get(layout.FAILURES):
            rows = parts.read(workspace, part.key, FAILURES)
            yield from rows.select(list(SHOWN)).to_pylist()
