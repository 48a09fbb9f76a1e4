"""Parquet parts of the tables: immutable, written create-only."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from linnaeus.storage import Folder


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


def write(
    folder: Folder, key: str, table: pa.Table, metadata: Mapping[str, str] | None = None
) -> Part | None:
    """Create the part; None if it exists already, which then is the one that counts."""
    data = encode(table, metadata)
    return Part(key, len(data), table.num_rows) if folder.write_new(key, data) else None


def read_metadata(folder: Folder, key: str) -> dict[str, str]:
    """Key-value metadata of a part's footer."""
    with folder.open(key) as file:
        stored = pq.read_metadata(file).metadata or {}
    return {k.decode(): v.decode() for k, v in stored.items()}
