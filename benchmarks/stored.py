"""A workspace with as many embeddings as one likes, of objects that nobody ever had to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.setting import Setting
from linnaeus import layout, parts
from linnaeus.backbones import BackboneSpec
from linnaeus.parts import Part
from linnaeus.records import EMBEDDINGS, OBJECTS
from linnaeus.storage import Folder
from linnaeus.tables import Table

CLASSES = 5
PART_ROWS = 256
"""As a run below 10^6 objects writes them."""
RUN = "stored"


def make(setting: Setting) -> Path:
    """The folder with the tables `embeddings` and `objects` and the manifests; made if missing."""
    spec = setting.spec()
    folder = Path(setting.data) / f"stored-{setting.stored}-{spec.fingerprint}"
    if not manifest(folder, setting.few).exists():
        _write_tables(Folder(str(folder)), spec, setting.stored)
        for rows in (setting.stored, setting.few):
            _write_manifest(manifest(folder, rows), rows)
    return folder


def manifest(folder: Path, rows: int) -> Path:
    """The list of the first `rows` objects with their labels."""
    return folder / f"objects-{rows}.parquet"


def vectors(first: int, rows: int, size: int) -> NDArray[np.float32]:
    """Rows `[rows, size]` that look like pooled ReLU6 features: a centre a class, and noise."""
    centres = np.random.default_rng(0).exponential(0.4, (CLASSES, size))
    noise = np.random.default_rng(first + 1).normal(0, 1.0, (rows, size))
    return np.clip(centres[_labels(first, rows)] + noise, 0, 6).astype(np.float32)


def _labels(first: int, rows: int) -> NDArray[np.int64]:
    return np.arange(first, first + rows) % CLASSES


def _write_tables(folder: Folder, spec: BackboneSpec, rows: int) -> None:
    embeddings, objects = layout.embeddings(spec.fingerprint), layout.OBJECTS
    written: dict[str, list[Part]] = {embeddings: [], objects: []}
    for number, first in enumerate(range(0, rows, PART_ROWS)):
        count = min(PART_ROWS, rows - first)
        contents = {
            embeddings: _embedding_rows(first, count, spec.embedding_size),
            objects: _object_rows(first, count),
        }
        for table, content in contents.items():
            key = layout.shard_part(table, RUN, number)
            part = parts.write(folder, key, content)
            written[table] += [part] if part else []
    Table(folder, embeddings, EMBEDDINGS).append(written[embeddings], RUN)
    Table(folder, objects, OBJECTS).append(written[objects], RUN)


def _embedding_rows(first: int, rows: int, size: int) -> pa.Table:
    values = vectors(first, rows, size)
    lists = pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * size, values.reshape(-1))
    return pa.table([_digests(first, rows), lists, [RUN] * rows], schema=EMBEDDINGS)


def _object_rows(first: int, rows: int) -> pa.Table:
    identity = zip(_uris(first, rows), _digests(first, rows), strict=True)
    # An object that is not there has no etag and no size in a manifest.
    found = [{"uri": uri, "etag": "", "size": 0, "sha256": digest} for uri, digest in identity]
    return pa.Table.from_pylist(found, schema=OBJECTS)


def _write_manifest(path: Path, rows: int) -> None:
    labels = [f"class-{label}" for label in _labels(0, rows)]
    pq.write_table(pa.table({"uri": _uris(0, rows), "label": labels}), path)


def _uris(first: int, rows: int) -> list[str]:
    return [f"/nowhere/{number:08d}.jpg" for number in range(first, first + rows)]


def _digests(first: int, rows: int) -> list[str]:
    return [f"{number:064x}" for number in range(first, first + rows)]
