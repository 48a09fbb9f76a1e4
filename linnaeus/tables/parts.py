"""Parquet parts of the tables: immutable, written create-only."""

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from linnaeus import documents
from linnaeus.storage import Folder

_TAIL_BYTES = 16 << 10
"""As much as a shard's footer has, with room to spare."""


@dataclass(frozen=True)
class Part:
    """A written Parquet file of a table: its key in the workspace, its length, its rows."""

    key: str
    size_bytes: int
    rows: int


def encode(table: pa.Table, metadata: Mapping[str, str] | None = None) -> bytes:
    """Parquet bytes of `table`, zstd-compressed, with `metadata` in the footer.

    Vectors get no dictionary: it costs a third more space and twice the time.
    """
    sink = io.BytesIO()
    schema = table.schema.with_metadata(dict(metadata or {}))
    with open_writer(sink, schema) as writer:
        writer.write_table(table.cast(schema))
    return sink.getvalue()


def open_writer(sink: io.BytesIO, schema: pa.Schema) -> pq.ParquetWriter:
    """What writes the rows of a part, of which it need not have all at once."""
    dictionary = [f.name for f in schema if pa.types.is_string(f.type) and f.name != "sha256"]
    return pq.ParquetWriter(
        sink, schema, compression="zstd", compression_level=1, use_dictionary=dictionary
    )


def row_groups(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: int
) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `rows`, but for the last one; nothing is copied."""
    held: list[pa.RecordBatch] = []
    held_rows = 0
    for batch in batches:
        held.append(batch)
        held_rows += batch.num_rows
        if held_rows >= rows:
            table = pa.Table.from_batches(held, schema)
            whole = held_rows // rows * rows
            for start in range(0, whole, rows):
                yield table.slice(start, rows)
            held, held_rows = table.slice(whole).to_batches(), held_rows - whole
    if held_rows:
        yield pa.Table.from_batches(held, schema)


def write(
    folder: Folder, key: str, table: pa.Table, metadata: Mapping[str, str] | None = None
) -> Part | None:
    """Create the part; None if it exists already, which then is the one that counts."""
    data = encode(table, metadata)
    return Part(key, len(data), table.num_rows) if folder.write_new(key, data) else None


def read(folder: Folder, key: str, schema: pa.Schema) -> pa.Table:
    """All rows of a file of that schema; none where there is no such file.

    Raises:
        DamagedFile: it is none.
    """
    if folder.head(key) is None:
        return schema.empty_table()
    with documents.intact(folder.uri_of(key), "delete it"), folder.open(key) as file:
        return pq.read_table(file)


def read_metadata(folder: Folder, key: str, size_bytes: int | None = None) -> dict[str, str]:
    """Key-value metadata of a part's footer; in one request where the part's size is known."""
    if size_bytes is None:
        with folder.open(key) as file:
            stored = pq.read_metadata(file).metadata or {}
    else:
        stored = pq.read_metadata(io.BytesIO(_footer(folder, key, size_bytes))).metadata or {}
    return {k.decode(): v.decode() for k, v in stored.items()}


def _footer(folder: Folder, key: str, size_bytes: int) -> bytes:
    """The end of a Parquet file: metadata, its length as four bytes, and the magic number."""
    tail = folder.read_range(key, max(0, size_bytes - _TAIL_BYTES), size_bytes)
    footer_bytes = int.from_bytes(tail[-8:-4], "little") + 8
    if footer_bytes > len(tail):
        return folder.read_range(key, max(0, size_bytes - footer_bytes), size_bytes)
    return tail
