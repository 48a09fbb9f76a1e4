"""A workspace with as many embeddings as one likes, of objects that nobody ever had to decode."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.pictures import MODIFIED_SECONDS
from benchmarks.setting import Setting
from linnaeus import layout
from linnaeus.records import EMBEDDINGS, OBJECTS
from linnaeus.storage import Folder
from linnaeus.storage.local import etag_of
from linnaeus.tables import Part, Table, parts

CLASSES = 5
PART_ROWS = 256
"""As a run below 10^6 objects writes them."""
RUN = "stored"


@dataclass(frozen=True)
class Stored:
    """The folder where it lies."""

    folder: Path

    @property
    def tables(self) -> Path:
        """A workspace with the tables `embeddings` and `objects`, and nothing else."""
        return self.folder / "tables"

    def path(self, number: int) -> Path:
        """An object: a file of some bytes."""
        return self.folder / "objects" / f"{number // 1000:05d}" / f"{number:08d}.jpg"

    def manifest(self, rows: int) -> Path:
        """The list of the first `rows` objects with their labels."""
        return self.folder / f"objects-{rows}.parquet"


def make(setting: Setting) -> Stored:
    """Vectors of the size of the home's backbone, under its fingerprint; made if missing."""
    spec = setting.spec()
    stored = Stored(Path(setting.data) / f"stored-{setting.stored}-{spec.fingerprint}")
    if not stored.manifest(setting.few).exists():
        _write_objects(stored, setting.stored)
        _write_tables(stored, setting.stored, spec.fingerprint, spec.embedding_size)
        for rows in (setting.stored, setting.few):
            _write_manifest(stored, rows)
    return stored


def vectors(first: int, rows: int, size: int) -> NDArray[np.float32]:
    """Rows `[rows, size]` that look like pooled ReLU6 features: a centre a class, and noise."""
    centres = np.random.default_rng(0).exponential(0.4, (CLASSES, size))
    noise = np.random.default_rng(first + 1).normal(0, 1.0, (rows, size))
    return np.clip(centres[_labels(first, rows)] + noise, 0, 6).astype(np.float32)


def _labels(first: int, rows: int) -> NDArray[np.int64]:
    return np.arange(first, first + rows) % CLASSES


def _write_objects(stored: Stored, rows: int) -> None:
    for number in range(rows):
        path = stored.path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
        os.utime(path, (MODIFIED_SECONDS, MODIFIED_SECONDS))


def _write_tables(stored: Stored, rows: int, fingerprint: str, size: int) -> None:
    folder = Folder(str(stored.tables))
    embeddings, objects = layout.embeddings(fingerprint), layout.OBJECTS
    written: dict[str, list[Part]] = {embeddings: [], objects: []}
    for number, first in enumerate(range(0, rows, PART_ROWS)):
        numbers = range(first, min(first + PART_ROWS, rows))
        contents = {
            embeddings: _embedding_rows(numbers, size),
            objects: _object_rows(stored, numbers),
        }
        for table, content in contents.items():
            key = layout.shard_part(table, RUN, number)
            part = parts.write(folder, key, content)
            written[table] += [part] if part else []
    Table(folder, embeddings, EMBEDDINGS).append(written[embeddings], RUN)
    Table(folder, objects, OBJECTS).append(written[objects], RUN)


def _embedding_rows(numbers: range, size: int) -> pa.Table:
    values = vectors(numbers.start, len(numbers), size)
    ends = np.arange(len(numbers) + 1, dtype=np.int32) * size
    lists = pa.ListArray.from_arrays(ends, values.reshape(-1))
    digests = [_digest(number) for number in numbers]
    return pa.table([digests, lists, [RUN] * len(numbers)], schema=EMBEDDINGS)


def _object_rows(stored: Stored, numbers: range) -> pa.Table:
    rows = []
    for number in numbers:
        path = stored.path(number)
        status = path.stat()
        identity = {"uri": str(path), "etag": etag_of(status), "size": status.st_size}
        rows.append({**identity, "sha256": _digest(number), "run_id": RUN})
    return pa.Table.from_pylist(rows, schema=OBJECTS)


def _write_manifest(stored: Stored, rows: int) -> None:
    labels = [f"class-{label}" for label in _labels(0, rows)]
    uris = [str(stored.path(number)) for number in range(rows)]
    pq.write_table(pa.table({"uri": uris, "label": labels}), stored.manifest(rows))


def _digest(number: int) -> str:
    return f"{number:064x}"
