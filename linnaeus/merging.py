"""One part with the rows of several: read, freed of repeated embeddings, written."""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from ulid import ULID

from linnaeus import layout, parts
from linnaeus.errors import StorageError
from linnaeus.parts import Part
from linnaeus.plans import STORED_SHARD_OBJECTS
from linnaeus.records import EMBEDDINGS
from linnaeus.tables import Table

ROW_GROUP_ROWS = 1 << 17

_READERS = 16


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
        for group in parts.row_groups(_rows(schema, contents, kept), schema, group_rows):
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
            if kept is not None:
                rows = rows.filter(pa.array(kept[start : start + batch.num_rows]))
            start += batch.num_rows
            yield from rows.to_batches()
