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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from linnaeus.errors import ConfigurationError
from linnaeus.inventory_files import FORMATS, REQUIRED, read_file
from linnaeus.listing import images_among
from linnaeus.locations import is_local, parent, split_uri
from linnaeus.storage import Folder, read_named

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
