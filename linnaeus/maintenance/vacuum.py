"""Vacuum: deletes what no table's log names any more, and what runs left behind that ended badly.

Delta's own vacuum does not do: its lite form finds only parts whose removal the log still notes,
and a checkpoint forgets those after a week; its full form deletes parts of runs that are at work.
So files are listed here, and a file goes only if

- the log noted its removal longer ago than the retention, or
- the log does not name it, it is old by the store's clock, and no run can be joined that wrote it.

A run without a sign of life for long is given up first: its summary says so, which is created
before, or instead of, that of a commit; and a transaction under its id in each table's log keeps a
commit that is under way from adding parts which are deleted here.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from deltalake import DeltaTable

from linnaeus import layout
from linnaeus.documents import Document
from linnaeus.errors import ConfigurationError, DamagedFile
from linnaeus.runs import give_up
from linnaeus.storage import Entry, Folder, is_local, local, store_time
from linnaeus.tables import REMEMBERED_DAYS, Table, tables_in

_DELETIONS = 16
_LOG = "_delta_log"


@dataclass(frozen=True)
class Retention:
    """How long what nobody seems to need is kept."""

    removed: timedelta = timedelta(days=7)
    """Parts that compaction or newer labels replaced: who reads an old snapshot needs them."""
    unfinished: timedelta = timedelta(days=7)
    """Runs after their last sign of life, and parts and markers that belong to nothing."""

    def __post_init__(self) -> None:
        if self.removed > timedelta(days=REMEMBERED_DAYS):
            raise ConfigurationError(
                f"Removed parts can be kept for {REMEMBERED_DAYS} days at most: after that no log "
                "knows when they were removed"
            )


@dataclass(frozen=True)
class Swept:
    """Files, and the bytes that they take."""

    files: int
    size_bytes: int


@dataclass(frozen=True)
class Vacuum:
    """What was deleted or, in a dry run, would be."""

    dry_run: bool
    tables: dict[str, Swept]
    """Parts, by table."""
    runs: Swept
    """Markers of attempts, names of ended runs, plans of those that were given up, and what writes
    that were killed left on a local disk.
    """
    given_up: list[str]
    """Unfinished runs that were given up, by id."""


def vacuum(
    workspace: Folder, retention: Retention | None = None, *, dry_run: bool = False
) -> Vacuum:
    """Delete what no reader, no table and no run needs.

    Raises:
        StorageError: the workspace cannot be listed or written.
    """
    sweep = _Sweep(workspace, retention or Retention())
    given_up = sweep.give_up(dry_run=dry_run)
    unneeded = {table.key: list(sweep.unneeded_parts(table)) for table in sweep.files}
    leftovers = list(sweep.leftovers(given_up))
    if not dry_run:
        _delete(workspace, [entry for found in unneeded.values() for entry in found])
        _delete(workspace, leftovers)
    return Vacuum(
        dry_run,
        {table: _swept(found) for table, found in unneeded.items() if found},
        _swept(leftovers),
        sorted(given_up),
    )


class _Sweep:
    """The workspace as it is listed now: runs first, then parts, then, for each table, the log."""

    def __init__(self, workspace: Folder, retention: Retention) -> None:
        self._workspace, self._retention = workspace, retention
        self._now = store_time(workspace)
        self.runs = survey(workspace)
        self.files = {table: list(_parts(table)) for table in tables_in(workspace)}
        for table, entries in self.files.items():
            for entry in entries:
                if run := self.runs.get(_folder(table, entry)):
                    run.last_sign = max(run.last_sign, entry.modified)

    def _is_old(self, moment: datetime) -> bool:
        return self._now - moment >= self._retention.unfinished

    def give_up(self, *, dry_run: bool) -> set[str]:
        """End the unfinished runs that showed no sign of life for long; their ids."""
        found = {
            run_id
            for run_id, run in self.runs.items()
            if run.joinable and self._is_old(run.last_sign)
        }
        if not dry_run:
            found = {run_id for run_id in found if give_up(self._workspace, run_id)}
            self._keep_from_committing(found)
        for run_id in found:
            self.runs[run_id].ended = True
        return found

    def _keep_from_committing(self, given_up: set[str]) -> None:
        for table, entries in self.files.items():
            for run_id in {_folder(table, entry) for entry in entries} & given_up:
                table.append([], run_id)

    def unneeded_parts(self, table: Table) -> Iterator[Entry]:
        """The files that go."""
        snapshot = table.load()
        if snapshot is None:
            return
        live = {part.key for part in table.parts(snapshot)}
        known = live | self._removed(table, snapshot, timedelta())
        expired = self._removed(table, snapshot, self._retention.removed) - live
        for entry in self.files[table]:
            unknown = entry.key not in known
            if entry.key in expired or (unknown and self._belongs_to_nothing(table, entry)):
                yield entry

    def _removed(self, table: Table, snapshot: DeltaTable, retention: timedelta) -> set[str]:
        """Parts whose removal the log notes, longer ago than the retention.

        delta-rs goes by this machine's clock: where it is ahead of the store's, so is the limit.
        """
        ahead = max(timedelta(), datetime.now(UTC) - self._now) if retention else timedelta()
        hours = math.ceil((retention + ahead) / timedelta(hours=1))
        found = snapshot.vacuum(hours, dry_run=True, enforce_retention_duration=False)
        return {f"{table.key}/{path}" for path in found}

    def _belongs_to_nothing(self, table: Table, entry: Entry) -> bool:
        run = self.runs.get(_folder(table, entry))
        return not (run and run.joinable) and self._is_old(entry.modified)

    def leftovers(self, given_up: set[str]) -> Iterator[Entry]:
        """Old markers and names of ended runs, and the plans of those that were given up."""
        for run_id, run in self.runs.items():
            if run.ended:
                yield from (marker for marker in run.markers if self._is_old(marker.modified))
            if run_id in given_up and run.plan:
                yield run.plan
        for name in self._workspace.list(layout.RUN_NAMES):
            if self._is_old(name.modified) and self._is_over(name):
                yield name
        if is_local(self._workspace.uri):
            broken_off = local.broken_off(self._workspace.uri)
            yield from (entry for entry in broken_off if self._is_old(entry.modified))

    def _is_over(self, name: Entry) -> bool:
        """A file that says no run is somebody else's."""
        with suppress(DamagedFile):
            run = self.runs.get(named_run(self._workspace, name) or "")
            return not (run and run.joinable)
        return False


def _parts(table: Table) -> Iterator[Entry]:
    for entry in table.workspace.list(table.key):
        if _folder(table, entry) != _LOG:
            yield entry


def _folder(table: Table, entry: Entry) -> str:
    """What a part lies in below the table, which is a run's id or `compacted`."""
    return entry.key.removeprefix(table.key + "/").partition("/")[0]


def _delete(workspace: Folder, entries: Sequence[Entry]) -> None:
    with ThreadPoolExecutor(_DELETIONS) as pool:
        list(pool.map(workspace.delete, (entry.key for entry in entries)))


def _swept(entries: Sequence[Entry]) -> Swept:
    return Swept(len(entries), sum(entry.size for entry in entries))


@dataclass
class RunTraces:
    """The files of one run's folder, by the store's clock."""

    last_sign: datetime
    plan: Entry | None = None
    ended: bool = False
    markers: list[Entry] = field(default_factory=list)
    """Of attempts at shards."""

    @property
    def joinable(self) -> bool:
        """Whether whoever issues the run's command again may go on with it."""
        return self.plan is not None and not self.ended

    def add(self, name: str, entry: Entry) -> None:
        """Take in one more file, by its path in the run's folder."""
        self.last_sign = max(self.last_sign, entry.modified)
        if name == "plan.parquet":
            self.plan = entry
        elif name == "summary.json":
            self.ended = True
        elif name.startswith("attempts/"):
            self.markers.append(entry)


def survey(workspace: Folder) -> dict[str, RunTraces]:
    """Every run by its id, from one listing."""
    found: dict[str, RunTraces] = {}
    for run_id, name, entry in _files(workspace):
        found.setdefault(run_id, RunTraces(entry.modified)).add(name, entry)
    return found


@dataclass(frozen=True)
class _Name(Document):
    """Of the file of a run's name: which run it is."""

    run_id: str | None


def named_run(workspace: Folder, name: Entry) -> str | None:
    """The id of the run that the file of a name says; None where there was nothing to do."""
    return _Name.from_json(workspace.read(name.key), workspace.uri_of(name.key)).run_id


def _files(workspace: Folder) -> Iterator[tuple[str, str, Entry]]:
    for entry in workspace.list(layout.RUNS):
        run_id, _, name = entry.key.removeprefix(f"{layout.RUNS}/").partition("/")
        if name and layout.RUN_ID.fullmatch(run_id):
            yield run_id, name, entry
