"""Made-up buckets of any size: their tables and Inventories, without a single picture.

Objects are numbered, and everything about one follows from its number. A vector has one number
instead of some thousand: planning never reads it. URIs have about 100 characters.

    python -m benchmarks.scale_data DATA OBJECTS

makes them in a process of its own, so that its memory is not counted.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from benchmarks.setting import Setting
from linnaeus import layout, manifests
from linnaeus.manifests import Manifest
from linnaeus.records import EMBEDDINGS, OBJECTS
from linnaeus.storage import Folder
from linnaeus.tables import Part, Table, gathered, parts

BUCKET = "images-of-the-catalogue"
FINGERPRINT = "5ca1e" * 12 + "0000"
FOLDER_OBJECTS = 10_000
NEW = 1_000
"""Objects of a night that the tables do not know."""
PART_ROWS = 2_000
"""As a run of 10^6 objects and more writes them."""
RUN = "01SCALE"

_KEY = (
    "printf('photos/%05d-taken-in-the-field-in-2024/image-of-the-day-%010d.jpg', "
    f"number // {FOLDER_OBJECTS}, number)"
)
_ETAG = "md5('e' || number)"
_SIZE = "100000 + number % 1000"
_INVENTORY_COLUMNS = (
    f"'{BUCKET}' AS bucket, {_KEY} AS key, {_SIZE} AS size, "
    f"TIMESTAMP '2024-09-01' AS last_modified_date, {_ETAG} AS e_tag, 'STANDARD' AS storage_class"
)
_INVENTORY_SCHEMA = "Bucket, Key, Size, LastModifiedDate, ETag, StorageClass"
_INVENTORY_ROWS = 1_000_000
_COPY_OPTIONS = {
    "Parquet": "FORMAT parquet",
    "CSV": "FORMAT csv, COMPRESSION gzip, HEADER false, FORCE_QUOTE *, "
    "TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.000Z'",
}


@dataclass(frozen=True)
class Made:
    """A bucket of `objects` objects, of which the last `NEW` are unknown to the tables."""

    folder: Path
    objects: int

    @property
    def tables(self) -> Path:
        """A workspace with `objects`, `embeddings` and a manifest of the whole bucket."""
        return self.folder / "tables"

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        found = manifests.newest(Folder(str(self.tables)), f"s3://{BUCKET}")
        assert found is not None
        return found

    def inventory(self, kind: str) -> str:
        """The bucket's Inventory, `Parquet` or `CSV`."""
        return str(self.folder / kind / "manifest.json")


def made(setting: Setting, objects: int) -> Made:
    """The bucket of that size, made by another process if it is missing."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks.scale_data", setting.data, str(objects)], check=True
    )
    return _at(setting.data, objects)


def key(number: int) -> str:
    """An object's key; keys have the order of their numbers."""
    folder = f"photos/{number // FOLDER_OBJECTS:05d}-taken-in-the-field-in-2024"
    return f"{folder}/image-of-the-day-{number:010d}.jpg"


def _at(data: str, objects: int) -> Made:
    return Made(Path(data) / f"scale-{objects}", objects)


def _make(bucket: Made) -> None:
    done = bucket.folder / "done"
    if done.exists():
        return
    for kind in _COPY_OPTIONS:
        _write_inventory(Path(bucket.inventory(kind)).parent, kind, bucket.objects)
    workspace = Folder(str(bucket.tables))
    _write_tables(workspace, bucket.objects - NEW)
    manifests.freeze(workspace, bucket.inventory("Parquet"))
    done.touch()


def _write_inventory(folder: Path, kind: str, objects: int) -> None:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    files = []
    for number, first in enumerate(range(0, objects, _INVENTORY_ROWS)):
        path = folder / "data" / f"{number}.{kind.lower()}"
        numbers = f"range({first}, {min(first + _INVENTORY_ROWS, objects)}) numbers(number)"
        rows = f"SELECT {_INVENTORY_COLUMNS} FROM {numbers} ORDER BY number"
        _connect().execute(f"COPY ({rows}) TO '{path}' ({_COPY_OPTIONS[kind]})")
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        files.append({"key": f"data/{path.name}", "MD5checksum": md5})
    schema = _INVENTORY_SCHEMA if kind == "CSV" else "message { key size last_modified_date e_tag }"
    said = {"sourceBucket": BUCKET, "fileFormat": kind, "fileSchema": schema, "files": files}
    (folder / "manifest.json").write_text(json.dumps(said))


def _write_tables(workspace: Folder, objects: int) -> None:
    embeddings = layout.embeddings(FINGERPRINT)
    written: dict[str, list[Part]] = {embeddings: [], layout.OBJECTS: []}
    for number, batch in enumerate(_known(objects)):
        known = pa.Table.from_batches([batch])
        contents = {embeddings: _of(EMBEDDINGS, known), layout.OBJECTS: _of(OBJECTS, known)}
        for table, content in contents.items():
            part = parts.write(workspace, layout.shard_part(table, RUN, number), content)
            written[table] += [part] if part else []
    Table(workspace, embeddings, EMBEDDINGS).append(written[embeddings], RUN)
    Table(workspace, layout.OBJECTS, OBJECTS).append(written[layout.OBJECTS], RUN)


def _known(objects: int) -> Iterator[pa.RecordBatch]:
    """What is said of each object, a part at a time."""
    rows = _connect().sql(
        f"SELECT 's3://{BUCKET}/' || {_KEY} AS uri, {_ETAG} AS etag, {_SIZE} AS size, "
        f"sha256(number::VARCHAR) AS sha256 FROM range({objects}) numbers(number) ORDER BY number"
    )
    batches = rows.to_arrow_reader(50 * PART_ROWS)
    yield from gathered(batches, batches.schema, PART_ROWS)


def _of(schema: pa.Schema, known: pa.Table) -> pa.Table:
    n = known.num_rows
    same = {
        "source": pa.repeat(f"s3://{BUCKET}", n),
        "run_id": pa.repeat(RUN, n),
        "embedding": pa.array([[0.0]] * n, pa.list_(pa.float32())),
        "width": pa.repeat(640, n),
        "height": pa.repeat(480, n),
        "format": pa.repeat("JPEG", n),
    }
    columns = [known[f.name] if f.name in known.column_names else same[f.name] for f in schema]
    return pa.Table.from_arrays(columns, schema.names).cast(schema)


def _connect() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"memory_limit": "1GB"})


if __name__ == "__main__":
    _make(_at(sys.argv[1], int(sys.argv[2])))
