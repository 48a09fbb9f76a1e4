"""Compaction: many small parts of a table become few large ones, with the same rows.

One merge is one commit, so an interruption costs at most one. Whoever loses a race has written a
part for nothing, and nobody has lost a row: see `Table.merge`.
"""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from ulid import ULID

from linnaeus import layout
from linnaeus.errors import StorageError
from linnaeus.maintenance.compaction_policy import ON_DEMAND, Policy, next_group
from linnaeus.planning import STORED_SHARD_OBJECTS
from linnaeus.records import EMBEDDINGS
from linnaeus.storage import Lease, LeaseLost, leased
from linnaeus.tables import Part, PartsGone, Table, parts

ROW_GROUP_ROWS = 1 << 17

_READERS = 16


@dataclass(frozen=True)
class Compaction:
    """What became of a table."""

    table: str
    parts_before: int
    parts_after: int
    rows: int
    rewritten_bytes: int = 0
    repeats_dropped: int = 0
    """Rows of contents that other rows had."""
    busy: bool = False
    """Whether another process was at it, so that nothing was done here."""


def compact(
    table: Table, policy: Policy = ON_DEMAND, budget_bytes: int | None = None
) -> Compaction | None:
    """Merge the parts of a table as the policy has it.

    Args:
        table: of parts that runs added; not the current labels, which are replaced whole.
        policy: which parts, and into how large ones.
        budget_bytes: no merge is begun once so much was rewritten; None: no bound.

    Returns:
        What was done; None if there is no such table.

    Raises:
        StorageError: the table cannot be read or written. Every merge until then stays.
    """
    before = _live(table)
    if before is None:
        return None
    if not next_group(before, policy):
        return _described(table, before, before)
    with leased(table.workspace, f"compaction/{table.key}") as lease:
        if lease is None:
            return _described(table, before, before, busy=True)
        merges = list(_merges(table, policy, budget_bytes, lease))
    return _described(table, before, _live(table) or [], merges)


def is_due(table: Table, policy: Policy) -> bool:
    """Whether there is something to merge."""
    return bool(next_group(_live(table) or [], policy))


@dataclass(frozen=True)
class Merge:
    """Parts and the one that has their rows, but for contents that come twice."""

    group: Sequence[Part]
    merged: Part

    @property
    def size_bytes(self) -> int:
        """What was rewritten."""
        return sum(part.size_bytes for part in self.group)

    @property
    def repeats(self) -> int:
        """Rows that were left out."""
        return sum(part.rows for part in self.group) - self.merged.rows


def _merges(table: Table, policy: Policy, budget: int | None, lease: Lease) -> Iterator[Merge]:
    done_bytes = 0
    while budget is None or done_bytes < budget:
        group = next_group(_live(table) or [], policy)
        if not group:
            return
        try:
            lease.renew()
            merge = Merge(group, write_merged(table, group))
            lease.renew()
        except LeaseLost:
            return
        if commit(table, merge):
            done_bytes += merge.size_bytes
            yield merge


def commit(table: Table, merge: Merge) -> bool:
    """Put a merged part in its place; False if another process was faster.

    The part that lost stays until vacuum: whether it was never committed, or was and is merged
    again already, cannot be told apart.
    """
    try:
        table.merge(merge.group, merge.merged)
    except PartsGone:
        return False
    return True


def _live(table: Table) -> list[Part] | None:
    snapshot = table.load()
    return None if snapshot is None else table.parts(snapshot)


def _described(
    table: Table,
    before: Sequence[Part],
    after: Sequence[Part],
    merges: Sequence[Merge] = (),
    *,
    busy: bool = False,
) -> Compaction:
    return Compaction(
        table.key,
        len(before),
        len(after),
        sum(part.rows for part in after),
        sum(merge.size_bytes for merge in merges),
        sum(merge.repeats for merge in merges),
        busy,
    )


def write_merged(table: Table, group: Sequence[Part]) -> Part:
    """Write one part with the rows of several, in their order; nobody sees it yet.

    Of contents with several embeddings, which are equal, the first one is kept. Memory holds the
    files of the group, which a policy bounds, and some row groups.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        files = list(pool.map(table.workspace.read, (part.key for part in group)))
    contents = [pq.ParquetFile(pa.BufferReader(data)) for data in files]
    for part, content in zip(group, contents, strict=True):
        if content.metadata.num_rows != part.rows:
            raise StorageError(
                f"{table.workspace.uri_of(part.key)} has {content.metadata.num_rows} rows, and the "
                f"table's log says {part.rows}: restore the file"
            )
    kept = _first_of_each(contents) if table.schema == EMBEDDINGS else None
    data, rows = _encoded(table.schema, contents, kept)
    key = layout.compacted_part(table.key, str(ULID()))
    table.workspace.write_own(key, data)  # nobody else has the name
    return Part(key, len(data), rows)


def _first_of_each(contents: Sequence[pq.ParquetFile]) -> NDArray[np.bool_]:
    """Which of all rows have a content that no row before them has."""
    digests = pa.concat_tables([content.read(columns=["sha256"]) for content in contents])
    codes = np.asarray(digests["sha256"].combine_chunks().dictionary_encode().indices)
    kept = np.zeros(len(codes), np.bool_)
    kept[np.unique(codes, return_index=True)[1]] = True
    return kept


def _encoded(
    schema: pa.Schema, contents: Sequence[pq.ParquetFile], kept: NDArray[np.bool_] | None
) -> tuple[bytes, int]:
    """A Parquet file of the kept rows, and their number."""
    group_rows = STORED_SHARD_OBJECTS if schema == EMBEDDINGS else ROW_GROUP_ROWS
    sink, rows = io.BytesIO(), 0
    with parts.open_writer(sink, schema) as writer:
        for group in _one_ahead(
            parts.row_groups(_rows(schema, contents, kept), schema, group_rows)
        ):
            writer.write_table(group, row_group_size=group_rows)
            rows += group.num_rows
    return sink.getvalue(), rows


def _rows(
    schema: pa.Schema, contents: Sequence[pq.ParquetFile], kept: NDArray[np.bool_] | None
) -> Iterator[pa.RecordBatch]:
    start = 0
    for content in contents:
        for batch in content.iter_batches(batch_size=ROW_GROUP_ROWS, columns=schema.names):
            rows = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
            if kept is not None and not (own := kept[start : start + batch.num_rows]).all():
                rows = rows.filter(pa.array(own))
            start += batch.num_rows
            yield from rows.to_batches()


def _one_ahead(groups: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same groups, each read while the one before is encoded."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, groups, None)
        while (group := following.result()) is not None:
            following = pool.submit(next, groups, None)
            yield group
