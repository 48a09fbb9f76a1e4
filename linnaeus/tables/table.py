"""The workspace's Delta tables: created on first use, appended to and replaced by whole commits.

Delta neither refuses a transaction that it has already, nor a part that is not there, so every
commit here first looks for its run in the log, and looks again after a conflict.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from linnaeus import layout
from linnaeus.errors import LinnaeusError, StorageError
from linnaeus.records import EMBEDDINGS, FAILURES, LABELS, OBJECTS, PREDICTIONS
from linnaeus.storage import (
    Folder,
    breaks_off,
    got_no_answer,
    is_local,
    join,
    map_store_errors,
    retries,
)
from linnaeus.tables import delta_log
from linnaeus.tables.parts import Part

COMMIT_ATTEMPTS = 20
CHECKPOINT_COMMITS = 10
"""So often the log is summed up, so that opening a table reads few commits, however many it has."""
_STREAMED_ROWS = 10_000
_BUFFER_BYTES = 1 << 20
"""Of each column of a part: so much of it is asked for at once."""
REMEMBERED_DAYS = 30
"""So long the log knows which parts were removed, and when; Delta's default is a week."""


class PartsGone(StorageError):  # noqa: N818 - as the others are named
    """Parts that were to be replaced are no longer in the table."""


@dataclass(frozen=True)
class Table:
    """A Delta table of a workspace, by its key below the root and its Arrow schema."""

    workspace: Folder
    key: str
    schema: pa.Schema

    @property
    def uri(self) -> str:
        """Where readers find it."""
        return join(self.workspace.uri, self.key)

    def load(self) -> DeltaTable | None:
        """The newest snapshot, or None if nothing was ever committed."""
        with map_store_errors("read", self.uri):
            try:
                return self._snapshot()
            except TableNotFoundError:
                return None

    def _snapshot(self) -> DeltaTable:
        uri, options = Folder(self.uri).delta()
        with delta_log.whole(uri):
            return retries.retry(lambda: DeltaTable(uri, storage_options=options), breaks_off)

    def create(self) -> DeltaTable:
        """The newest snapshot of the table, which is made if it does not exist."""
        if (snapshot := self.load()) is not None:
            return snapshot
        uri, options = Folder(self.uri).delta()
        settings = {
            "delta.checkpointInterval": str(CHECKPOINT_COMMITS),
            "delta.deletedFileRetentionDuration": f"interval {REMEMBERED_DAYS} days",
        }
        with map_store_errors("write", self.uri):
            with suppress(CommitFailedError):  # somebody else has just created it
                retries.retry(
                    lambda: DeltaTable.create(
                        uri,
                        self.schema,
                        mode="ignore",
                        configuration=settings,
                        storage_options=options,
                    ),
                    lambda error: breaks_off(error) or got_no_answer(error),
                )
            return self._snapshot()

    def parts(self, snapshot: DeltaTable) -> list[Part]:
        """The parts that a snapshot consists of."""
        columns = pa.table(snapshot.get_add_actions()).select(["path", "size_bytes", "num_records"])
        rows = zip(*(column.to_pylist() for column in columns), strict=True)
        return [Part(f"{self.key}/{path}", size, records) for path, size, records in rows]

    def scan(
        self,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        snapshot: DeltaTable | None = None,
    ) -> pa.RecordBatchReader:
        """Stream of the rows that satisfy `where`, empty if the table does not exist."""
        columns = list(columns or self.schema.names)
        table = snapshot or self.load()
        if table is None:
            schema = pa.schema([self.schema.field(name) for name in columns])
            return pa.RecordBatchReader.from_batches(schema, [])
        dataset = table.to_pyarrow_dataset(schema=self.schema)
        return dataset.scanner(columns=columns, filter=where, batch_size=1 << 16).to_reader()

    def stream(
        self, snapshot: DeltaTable, where: pc.Expression, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a snapshot that satisfy `where`, part by part, in little memory.

        `columns` has those that `where` names. `scan` is faster where there are many parts, but
        holds whole row groups of several at once, of a million rows where delta-rs wrote them.
        """
        names = list(columns or self.schema.names)
        schema = pa.schema([self.schema.field(name) for name in names])
        for part in snapshot.to_pyarrow_dataset(schema=self.schema).get_fragments(filter=where):
            with part.open() as file:
                rows = pq.ParquetFile(file, buffer_size=_BUFFER_BYTES)
                for batch in rows.iter_batches(_STREAMED_ROWS, columns=names):
                    yield batch.select(names).cast(schema).filter(where)

    def dataset(self) -> pads.Dataset:
        """The rows of one snapshot, to be read as often as one likes, by columns and conditions."""
        table = self.load()
        if table is None:
            return cast(pads.Dataset, pads.dataset(self.schema.empty_table()))
        return cast(pads.Dataset, table.to_pyarrow_dataset(schema=self.schema))

    def append(self, parts: Sequence[Part], run_id: str) -> None:
        """Make a run's parts visible at once; does nothing if that run's are visible already."""

        def commit(table: DeltaTable) -> None:
            table.create_write_transaction(
                [self._add(part) for part in parts],
                mode="append",
                schema=self.schema,
                commit_properties=_as_next({run_id: 1}),
            )

        self._commit(lambda table: table.transaction_version(run_id) is not None, commit)

    def merge(self, merged: Sequence[Part], into: Part) -> None:
        """Put one part in the place of those that have its rows, in one commit.

        Delta itself would remove what is gone and double the rows. So the commit is made only as
        the very next after a snapshot that has all those parts.

        Raises:
            PartsGone: one of them is not in the table any more; nothing is changed.
        """
        keys = {part.key for part in merged}

        def done(snapshot: DeltaTable) -> bool:
            found = {part.key for part in self.parts(snapshot)}
            if into.key not in found and not keys <= found:
                raise PartsGone(f"{self.uri}: another process merged parts at the same time")
            return into.key in found

        def commit(snapshot: DeltaTable) -> None:
            now = int(time.time() * 1000)
            removed = [
                RemoveAction(self._path(part), data_change=False, deletion_timestamp=now)
                for part in merged
            ]
            snapshot.create_write_transaction(
                [self._add(into, new_rows=False), *removed],
                mode="append",
                schema=self.schema,
                commit_properties=CommitProperties(max_commit_retries=0),
            )

        self._commit(done, commit)

    def replace(
        self,
        rows: Callable[[], pa.RecordBatchReader],
        *,
        predicate: str,
        versions: dict[str, int],
        done: Callable[[DeltaTable], bool],
        judge: Callable[[DeltaTable], None],
    ) -> None:
        """Put `rows` in the place of those that satisfy `predicate`, in one commit.

        It is the very next after a snapshot that was judged.

        Args:
            rows: makes the stream anew for every attempt.
            predicate: SQL over the table's columns.
            versions: application transactions to note in the log.
            done: says of the newest snapshot that this commit is not to be made (any more).
            judge: looks at the snapshot that the commit is made upon, and may raise.
        """

        def done_or_judged(snapshot: DeltaTable) -> bool:
            if not (is_done := done(snapshot)):
                judge(snapshot)
            return is_done

        def commit(table: DeltaTable) -> None:
            write_deltalake(
                table,
                rows(),
                mode="overwrite",
                predicate=predicate,
                commit_properties=_as_next(versions),
            )

        self._commit(done_or_judged, commit)

    def _commit(
        self, done: Callable[[DeltaTable], bool], commit: Callable[[DeltaTable], None]
    ) -> None:
        def attempt() -> None:
            table = self.create()
            if not done(table):
                with map_store_errors("write", self.uri), _conflicts_apart():
                    commit(table)

        try:
            retries.retry(attempt, lambda error: isinstance(error, _ConflictError), COMMIT_ATTEMPTS)
        except _ConflictError as error:
            raise StorageError(
                f"{self.uri}: {COMMIT_ATTEMPTS} commits in a row met another writer's; "
                "run the same command again when fewer jobs write to this table"
            ) from error
        if is_local(self.uri):
            delta_log.make_durable(Path(self.uri), Path(self.workspace.uri))

    def _path(self, part: Part) -> str:
        return part.key.removeprefix(self.key + "/")

    def _add(self, part: Part, *, new_rows: bool = True) -> AddAction:
        stats = f'{{"numRecords": {part.rows}}}'
        now = int(time.time() * 1000)
        return AddAction(self._path(part), part.size_bytes, {}, now, new_rows, stats)


def _as_next(versions: dict[str, int]) -> CommitProperties:
    """Of a commit that is made as the very next one or not, and notes these in the log."""
    transactions = [Transaction(name, version) for name, version in versions.items()]
    return CommitProperties(app_transactions=transactions, max_commit_retries=0)


class _ConflictError(LinnaeusError):
    """A commit is to be looked for, and else made again."""


@contextmanager
def _conflicts_apart() -> Iterator[None]:
    """Tell another writer's commit, and an answer that broke off, from what else goes wrong."""
    try:
        yield
    except Exception as error:
        if isinstance(error, CommitFailedError) or breaks_off(error):
            raise _ConflictError from error
        raise


def appended_tables(workspace: Folder) -> Iterator[Table]:
    """Those that runs add parts to, some of which may not exist yet."""
    yield Table(workspace, layout.OBJECTS, OBJECTS)
    yield Table(workspace, layout.FAILURES, FAILURES)
    for folder, schema in (("embeddings", EMBEDDINGS), ("predictions", PREDICTIONS)):
        yield from _named(workspace, folder, schema)


def tables_in(workspace: Folder) -> Iterator[Table]:
    """All of them: the current labels, too, whose rows are replaced."""
    yield from appended_tables(workspace)
    yield from labels_in(workspace)


def labels_in(workspace: Folder) -> Iterator[Table]:
    """The current labels of each model; some may not exist yet."""
    yield from _named(workspace, "labels", LABELS)


def _named(workspace: Folder, folder: str, schema: pa.Schema) -> Iterator[Table]:
    for name in sorted(filter(layout.NAME.fullmatch, workspace.folders(folder))):
        yield Table(workspace, f"{folder}/{name}", schema)
