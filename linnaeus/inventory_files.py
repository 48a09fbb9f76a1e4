"""The files of an S3 Inventory as rows of a listing, a batch at a time."""

from collections.abc import Callable, Iterator
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from pyarrow import orc

from linnaeus.records import LISTING, TIMESTAMP

_BATCH_ROWS = 100_000
_CSV_BLOCK_BYTES = 16 << 20
_TYPES = {
    "key": pa.string(),
    "size": pa.int64(),
    "e_tag": pa.string(),
    "last_modified_date": pa.timestamp("ms", tz="UTC"),
    "is_latest": pa.bool_(),
    "is_delete_marker": pa.bool_(),
}
REQUIRED = ("key", "size", "e_tag", "last_modified_date")


def read_file(kind: str, data: pa.Buffer, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The objects in a file, schema `LISTING`: newest versions, without delete markers.

    Args:
        kind: one of `FORMATS`.
        data: the file's bytes.
        columns: of CSV files, which have no header, as the other formats call them.

    Raises:
        pa.ArrowException, OSError, ValueError: it is no such file.
    """
    for batch in _READERS[kind](data, columns):
        yield _listing(batch, decode=kind == "CSV")


def _listing(rows: pa.RecordBatch, *, decode: bool) -> pa.RecordBatch:
    """Newest versions of objects (or all rows where versions are not listed) as a listing."""
    if missing := [name for name in REQUIRED if name not in rows.schema.names]:
        raise ValueError(f"there is no column {missing[0]}")
    for column, wanted in (("is_latest", True), ("is_delete_marker", False)):
        if column in rows.schema.names:
            rows = rows.filter(pc.equal(rows[column].cast(pa.bool_()), wanted))
    columns = [
        _decoded(rows["key"]) if decode else rows["key"],
        pc.fill_null(rows["size"].cast(pa.int64()), 0),
        pc.utf8_trim(pc.fill_null(rows["e_tag"], ""), '"'),
        _utc(rows["last_modified_date"]),
    ]
    return pa.record_batch(columns, schema=LISTING)


def _decoded(keys: pa.Array) -> pa.Array:
    """Decode `%2F` and `+`: in CSV files, and only there, S3 encodes keys as in a URL's query."""
    encoded = pc.match_substring_regex(keys, "[%+]")
    texts = [unquote_plus(key) for key in keys.filter(encoded).to_pylist()]
    return pc.replace_with_mask(keys, encoded, pa.array(texts, pa.string())) if texts else keys


def _utc(times: pa.Array) -> pa.Array:
    """Times of any unit and kind; ORC's have no zone."""
    if pa.types.is_timestamp(times.type) and times.type.tz is None:
        times = pc.assume_timezone(times, "UTC")
    return pc.cast(times, TIMESTAMP, safe=False)


def _csv(data: pa.Buffer, columns: list[str]) -> Iterator[pa.RecordBatch]:
    options = pacsv.ConvertOptions(
        column_types=_TYPES, include_columns=_wanted(columns), strings_can_be_null=True
    )
    with pa.input_stream(data, compression="gzip") as stream:
        if not stream.read(1):
            return  # Arrow takes a file without rows for a mistake
    with pa.input_stream(data, compression="gzip") as stream:
        yield from pacsv.open_csv(
            stream,
            read_options=pacsv.ReadOptions(column_names=columns, block_size=_CSV_BLOCK_BYTES),
            convert_options=options,
        )


def _parquet(data: pa.Buffer, columns: list[str]) -> Iterator[pa.RecordBatch]:
    del columns  # the file says them itself
    file = pq.ParquetFile(pa.BufferReader(data))
    yield from file.iter_batches(_BATCH_ROWS, columns=_wanted(file.schema_arrow.names))


def _orc(data: pa.Buffer, columns: list[str]) -> Iterator[pa.RecordBatch]:
    del columns
    file = orc.ORCFile(pa.BufferReader(data))
    for number in range(file.nstripes):
        yield file.read_stripe(number, columns=_wanted(file.schema.names))


def _wanted(columns: list[str]) -> list[str]:
    return [name for name in _TYPES if name in columns]


_READERS: dict[str, Callable[[pa.Buffer, list[str]], Iterator[pa.RecordBatch]]] = {
    "CSV": _csv,
    "ORC": _orc,
    "PARQUET": _parquet,
}
FORMATS = tuple(_READERS)
