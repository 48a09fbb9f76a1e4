"""The workspace's Delta tables: created on first use, appended to and replaced by whole commits.

Delta neither refuses a transaction that it has already, nor a part that is not there, so every
commit here first looks for its run in the log, and looks again after a conflict.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction

from linnaeus.errors import StorageError
from linnaeus.parts import Part
from linnaeus.storage import Folder, join

COMMIT_ATTEMPTS = 20


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
        uri, options = Folder(self.uri).delta()
        try:
            return DeltaTable(uri, storage_options=options)
        except TableNotFoundError:
            return None

    def create(self) -> DeltaTable:
        """The newest snapshot of the table, which is made if it does not exist."""
        uri, options = Folder(self.uri).delta()
        with suppress(CommitFailedError):  # somebody else has just created it
            DeltaTable.create(uri, schema=self.schema, mode="ignore", storage_options=options)
        return DeltaTable(uri, storage_options=options)

    def scan(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.RecordBatchReader:
        """Stream of the rows that satisfy `where`, empty if the table does not exist."""
        columns = list(columns or self.schema.names)
        table = self.load()
        if table is None:
            schema = pa.schema([self.schema.field(name) for name in columns])
            return pa.RecordBatchReader.from_batches(schema, [])
        dataset = table.to_pyarrow_dataset(schema=self.schema)
        return dataset.scanner(columns=columns, filter=where, batch_size=1 << 16).to_reader()

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
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(run_id, 1)], max_commit_retries=0
                ),
            )

        self._commit(lambda table: table.transaction_version(run_id) is not None, commit)

    def replace(
        self,
        rows: Callable[[], pa.RecordBatchReader],
        *,
        predicate: str,
        versions: dict[str, int],
        done: Callable[[DeltaTable], bool],
    ) -> None:
        """Put `rows` in the place of those that satisfy `predicate`, in one commit.

        Args:
            rows: makes the stream anew for every attempt.
            predicate: SQL over the table's columns.
            versions: application transactions to note in the log.
            done: says of the newest snapshot that this commit is not to be made (any more).
        """

        def commit(table: DeltaTable) -> None:
            transactions = [Transaction(name, version) for name, version in versions.items()]
            write_deltalake(
                table,
                rows(),
                mode="overwrite",
                predicate=predicate,
                commit_properties=CommitProperties(
                    app_transactions=transactions, max_commit_retries=0
                ),
            )

        self._commit(done, commit)

    def _commit(
        self, done: Callable[[DeltaTable], bool], commit: Callable[[DeltaTable], None]
    ) -> None:
        for attempt in range(COMMIT_ATTEMPTS):
            table = self.create()
            if done(table):
                return
            try:
                commit(table)
            except CommitFailedError:
                time.sleep(0.05 * attempt)
            else:
                return
        raise StorageError(
            f"{self.uri}: {COMMIT_ATTEMPTS} commits in a row met another writer's; "
            "run the same command again when fewer jobs write to this table"
        )

    def _add(self, part: Part) -> AddAction:
        path = part.key.removeprefix(self.key + "/")
        stats = f'{{"numRecords": {part.rows}}}'
        return AddAction(path, part.size_bytes, {}, int(time.time() * 1000), True, stats)
