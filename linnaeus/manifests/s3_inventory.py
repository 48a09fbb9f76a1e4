"""S3 Inventory: a bucket's objects without a listing, from the report that S3 writes itself.

IMAGES is the report's `manifest.json`. It names files in CSV (gzip), ORC or Parquet with an MD5
each. The source is the bucket that is inventoried, so that its listing and its Inventory are
manifests of one source, and embed and label the same objects.

Format: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from pyarrow import orc

from linnaeus.errors import ConfigurationError
from linnaeus.manifests.listing import images_among
from linnaeus.records import LISTING, TIMESTAMP
from linnaeus.storage import Folder, is_local, parent, read_named, split_uri

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
NAME = "manifest.json"

_FILES_AHEAD = 3
"""Files that are in memory at once, compressed: some 100 MB each in a large Inventory."""
_SNAKE = {
    "Key": "key",
    "Size": "size",
    "ETag": "e_tag",
    "LastModifiedDate": "last_modified_date",
    "IsLatest": "is_latest",
    "IsDeleteMarker": "is_delete_marker",
}
"""Columns as CSV files call them, and as Parquet and ORC files do."""


def is_inventory(source: str) -> bool:
    """Whether a normalised location is that of an Inventory's manifest."""
    return posixpath.basename(source) == NAME


@dataclass(frozen=True)
class _File:
    key: str
    md5: str


@dataclass(frozen=True)
class _Inventory:
    """What a `manifest.json` says, and where its files are."""

    name: str
    bucket: str
    format: str
    columns: list[str]
    """Of CSV files, which have no header; as the other formats call them."""
    files: list[_File]
    root: Folder

    def read(self, file: _File) -> pa.Buffer:
        """A file's bytes, if they are those that the manifest means."""
        data = pa.py_buffer(self.root.read(file.key))
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != file.md5:
            raise ConfigurationError(
                f"{self.root.uri_of(file.key)}: its MD5 is not the one in {self.name}: take "
                "another day's Inventory"
            )
        return data


def _load(name: str) -> _Inventory:
    try:
        said = json.loads(read_named(name))
        files = [_File(file["key"], file["MD5checksum"]) for file in said["files"]]
        said = {key: str(said[key]) for key in ("sourceBucket", "fileFormat", "fileSchema")}
        bucket, kind, schema = said.values()
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise ConfigurationError(
            f"{name} is not the manifest of an S3 Inventory: it says nothing of {e}"
        ) from e
    kind = kind.upper()
    if kind not in FORMATS:
        raise ConfigurationError(f"{name}: cannot read {kind}; use {', '.join(FORMATS)}")
    columns = [_SNAKE.get(column.strip(), column.strip()) for column in schema.split(",")]
    found = _Inventory(name, bucket, kind, columns, files, _root(name))
    if missing := [field for field, column in _SNAKE.items() if _is_missing(column, schema, found)]:
        raise ConfigurationError(
            f"{name} has no {missing[0]}: add it to the fields of the Inventory's configuration"
        )
    return found


def _is_missing(column: str, schema: str, found: _Inventory) -> bool:
    has = column in (found.columns if found.format == "CSV" else re.findall(r"\w+", schema))
    return column in REQUIRED and not has


def _root(name: str) -> Folder:
    """Where the files' keys begin: the bucket of the manifest, or the folder of a local copy."""
    if is_local(name):
        return Folder(parent(name))
    scheme, bucket, _ = split_uri(name)
    return Folder(f"{scheme}://{bucket}")


def source_of(name: str) -> str:
    """The bucket that an Inventory lists, as a source."""
    return f"s3://{_load(name).bucket}"


def read(name: str, skip: str | None = None) -> Iterator[pa.RecordBatch]:
    """The images of an Inventory, schema `LISTING`: newest versions, without delete markers.

    Args:
        name: location of the `manifest.json`.
        skip: the key of a folder to leave out.

    Raises:
        ConfigurationError: it is no Inventory, lacks a column, or a file is not the one it names.
        StorageError: a file cannot be read.
    """
    found = _load(name)
    with ThreadPoolExecutor(_FILES_AHEAD) as pool:
        for first in range(0, len(found.files), _FILES_AHEAD):
            files = found.files[first : first + _FILES_AHEAD]
            for file, data in zip(files, pool.map(found.read, files), strict=True):
                for page in _pages(found, file, data):
                    yield page if skip is None else _without(page, skip)


def _pages(found: _Inventory, file: _File, data: pa.Buffer) -> Iterator[pa.RecordBatch]:
    try:
        for page in read_file(found.format, data, found.columns):
            yield images_among(page)
    except (pa.ArrowException, OSError, ValueError) as e:
        line = str(e).partition("\n")[0]
        where = found.root.uri_of(file.key)
        raise ConfigurationError(f"{where}: not an Inventory in {found.format}: {line}") from e


def _without(page: pa.RecordBatch, folder: str) -> pa.RecordBatch:
    return page.filter(pc.invert(pc.starts_with(page["key"], f"{folder}/")))


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
