"""Frozen lists of a source's images: `manifests/<id>.parquet` in the workspace.

The manifests of a source are numbered from 1. Whoever writes a number first has it, so their
order needs no clock. Freezing what has not changed returns the newest one again.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from linnaeus.errors import ConfigurationError, FailureCode, StorageError
from linnaeus.locations import normalise
from linnaeus.records import MANIFEST
from linnaeus.sources import read_source
from linnaeus.storage import Folder

FOLDER = "manifests"

_ROW_GROUP_ROWS = 100_000


@dataclass(frozen=True)
class Manifest:
    """A frozen list: its id, what it lists, its number among that source's, and its rows."""

    id: str
    source: str
    number: int
    objects: int


def freeze(workspace: Folder, images: str) -> Manifest:
    """List the images now and keep the list; nothing is written where it has not changed.

    Args:
        workspace: where manifests are kept.
        images: a folder, the beginning of names in one, or a CSV, JSON lines or Parquet file.

    Raises:
        ConfigurationError: what is named cannot be listed, or its labels are in conflict.
        StorageError: the images cannot be listed or the workspace cannot be written.
    """
    table = read_source(images, workspace)
    source, digest = normalise(images), _digest(table)
    while True:
        last = newest(workspace, source)
        if last and _metadata(workspace, last.id)["digest"] == digest:
            return last
        number = last.number + 1 if last else 1
        manifest = Manifest(_id(source, number), source, number, table.num_rows)
        if workspace.write_new(_key(manifest.id), _to_parquet(table, manifest, digest)):
            return manifest


def load(workspace: Folder, manifest_id: str) -> pa.Table:
    """Read a manifest's rows: schema `records.MANIFEST`, sorted by uri."""
    try:
        data = workspace.read(_key(manifest_id))
    except StorageError as e:
        if e.code is FailureCode.NOT_FOUND:
            raise _unknown(workspace, manifest_id) from e
        raise
    table = pq.read_table(io.BytesIO(data))
    if "labels" not in table.column_names:  # frozen by a release that had no such column
        table = table.append_column("labels", pa.nulls(len(table), pa.list_(pa.string())))
    return table.replace_schema_metadata().cast(MANIFEST)


def describe(workspace: Folder, manifest_id: str) -> Manifest:
    """Return what is known of a manifest, without reading its rows."""
    kept = _metadata(workspace, manifest_id)
    return Manifest(manifest_id, kept["source"], int(kept["number"]), int(kept["objects"]))


def newest(workspace: Folder, source: str) -> Manifest | None:
    """Return the newest manifest of a source, or None where there is none."""
    start = _id(normalise(source), 0).partition("-")[0]
    names = [entry.key.rpartition("/")[2] for entry in workspace.list(FOLDER)]
    ids = [name.removesuffix(".parquet") for name in names if name.startswith(start)]
    return describe(workspace, max(ids)) if ids else None


def numbered(workspace: Folder, source: str, number: int) -> Manifest:
    """Return the manifest of a source that has this number."""
    return describe(workspace, _id(normalise(source), number))


def _id(source: str, number: int) -> str:
    return f"{hashlib.sha256(source.encode()).hexdigest()[:12]}-{number:08d}"


def _key(manifest_id: str) -> str:
    return f"{FOLDER}/{manifest_id}.parquet"


def _digest(table: pa.Table) -> str:
    """Hash all rows; another version of Arrow may give another digest, and so a new manifest."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()


def _to_parquet(table: pa.Table, manifest: Manifest, digest: str) -> bytes:
    kept = {
        "source": manifest.source,
        "number": str(manifest.number),
        "digest": digest,
        "objects": str(manifest.objects),
    }
    sink = pa.BufferOutputStream()
    described = table.replace_schema_metadata(kept)
    pq.write_table(described, sink, compression="zstd", row_group_size=_ROW_GROUP_ROWS)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _metadata(workspace: Folder, manifest_id: str) -> dict[str, str]:
    try:
        with workspace.open(_key(manifest_id)) as file:
            kept = pq.read_metadata(file).metadata
    except StorageError as e:
        if e.code is FailureCode.NOT_FOUND:
            raise _unknown(workspace, manifest_id) from e
        raise
    return {key.decode(): value.decode() for key, value in kept.items()}


def _unknown(workspace: Folder, manifest_id: str) -> ConfigurationError:
    return ConfigurationError(f"there is no manifest {manifest_id} in {workspace.uri}")
