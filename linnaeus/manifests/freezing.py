"""Frozen lists of a source's images: `manifests/<id>.parquet` in the workspace.

The manifests of a source are numbered from 1. Whoever writes a number first has it, so their
order needs no clock; labels and runs refer to it, so it is given once, whatever is deleted.
Freezing what has not changed returns the newest one again.
"""

import hashlib
import io
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from linnaeus import documents, layout
from linnaeus.errors import ConfigurationError, FailureCode, StorageError
from linnaeus.manifests.changed_keys import Found
from linnaeus.manifests.sources import read_changed, read_source, source_of
from linnaeus.records import MANIFEST
from linnaeus.storage import Folder, is_local, normalise
from linnaeus.tables import gathered

FOLDER, GIVEN = layout.MANIFESTS, layout.MANIFEST_NUMBERS
_NAME = re.compile(rf"{FOLDER}/([0-9a-f]{{12}}-[0-9]{{8}})\.parquet")

_ROW_GROUP_ROWS = 100_000


@dataclass(frozen=True)
class Manifest:
    """A frozen list: its id, what it lists, its number among that source's, and its rows."""

    id: str
    source: str
    number: int
    objects: int


def freeze(workspace: Folder, images: str, changes: str | None = None) -> Manifest:
    """List the images now and keep the list; nothing is written where it has not changed.

    Args:
        workspace: where manifests are kept.
        images: a folder, the beginning of names in one, or a CSV, JSON lines or Parquet file.
        changes: file or folder of files that name what may have changed since the last list: only
            that is looked at, and nothing is listed.

    Raises:
        ConfigurationError: what is named cannot be listed, or its labels are in conflict.
        StorageError: the images cannot be listed or the workspace cannot be written.
    """
    if changes is not None:
        return freeze_changed(workspace, images, changes)[0]
    source = source_of(images)
    with read_source(images, workspace) as rows:
        return freeze_rows(workspace, source, rows)


def freeze_rows(workspace: Folder, source: str, rows: Iterable[pa.RecordBatch]) -> Manifest:
    """Make rows the newest list of a source, unless they are; none: as if its images were gone."""
    with _Draft(rows) as draft:
        while True:
            last, number = _newest_and_next(workspace, source)
            if last and _metadata(workspace, last.id)["digest"] == draft.digest:
                return last
            if not last and not _ids(workspace):  # a new workspace
                workspace.require_creation(layout.clock(secrets.token_hex(8)))
            if manifest := _written(workspace, source, number, draft):
                return manifest


def freeze_changed(workspace: Folder, images: str, changes: str) -> tuple[Manifest, Found]:
    """Bring the last list of images up to date by a file of changes, and say what came of these.

    Raises:
        ConfigurationError: there is no list yet, or the file has a mistake.
        StorageError: an image cannot be looked up, or the workspace cannot be written.
    """
    source = source_of(images)
    while True:
        base, number = _newest_and_next(workspace, source)
        if base is None:
            raise ConfigurationError(
                f"there is no list of {source} in {workspace.uri} that changes could be put into: "
                "freeze one first, without changes"
            )
        with (
            local_file(workspace, base.id) as path,
            read_changed(images, workspace, path, changes) as (rows, found),
            _Draft(rows) as draft,
        ):
            if _metadata(workspace, base.id)["digest"] == draft.digest:
                return base, found
            if manifest := _written(workspace, source, number, draft):
                return manifest, found
        # Somebody else listed the images meanwhile: their list is what the changes go into.


def load(workspace: Folder, manifest_id: str) -> pa.Table:
    """Read a manifest's rows: schema `records.MANIFEST`, sorted by uri."""
    with _naming(workspace, manifest_id):
        table = pq.read_table(io.BytesIO(workspace.read(_key(manifest_id))))
    return table.replace_schema_metadata().cast(MANIFEST)


@contextmanager
def local_file(workspace: Folder, manifest_id: str) -> Iterator[Path]:
    """A manifest's Parquet file on this machine: the workspace's, or a copy while it is used."""
    with TemporaryDirectory(prefix="linnaeus-manifest-") as folder:
        path = Path(workspace.uri_of(_key(manifest_id)))
        if not is_local(workspace.uri):
            path = Path(folder) / "manifest.parquet"
            with _naming(workspace, manifest_id):
                workspace.copy_to(_key(manifest_id), path)
        yield path


def describe(workspace: Folder, manifest_id: str) -> Manifest:
    """Return what is known of a manifest, without reading its rows."""
    kept = _metadata(workspace, manifest_id)
    with _naming(workspace, manifest_id):
        return Manifest(manifest_id, kept["source"], int(kept["number"]), int(kept["objects"]))


def exists(workspace: Folder, manifest_id: str) -> bool:
    """Whether a manifest is there."""
    return workspace.head(_key(manifest_id)) is not None


def newest(workspace: Folder, source: str) -> Manifest | None:
    """Return the newest manifest of a source, or None where there is none."""
    source = normalise(source)
    numbers = workspace.numbered(FOLDER, lambda number: _key(_id(source, number)))
    return describe(workspace, _id(source, max(numbers))) if numbers else None


def known_sources(workspace: Folder) -> list[str]:
    """All sources that were ever listed, sorted."""
    newest = {manifest_id.partition("-")[0]: manifest_id for manifest_id in _ids(workspace)}
    return sorted(describe(workspace, manifest_id).source for manifest_id in newest.values())


def numbered(workspace: Folder, source: str, number: int) -> Manifest:
    """Return the manifest of a source that has this number."""
    return describe(workspace, _id(normalise(source), number))


def _newest_and_next(workspace: Folder, source: str) -> tuple[Manifest | None, int]:
    """The newest manifest of a source, and the next number: one that none of them ever had.

    Numbers are looked at first, so that a manifest which comes meanwhile has the next one.
    """
    given = workspace.numbered(GIVEN, lambda number: f"{GIVEN}/{_id(source, number)}")
    last = newest(workspace, source)
    if last and last.number not in given:  # whoever made it was killed
        workspace.write_new(f"{GIVEN}/{last.id}", b"")
    return last, max([last.number if last else 0, *given]) + 1


def _written(workspace: Folder, source: str, number: int, draft: "_Draft") -> Manifest | None:
    """The manifest of that number, or None if somebody else's has it."""
    manifest = Manifest(_id(source, number), source, number, draft.objects)
    if not workspace.write_new_file(_key(manifest.id), draft.file(manifest)):
        return None
    workspace.write_new(f"{GIVEN}/{manifest.id}", b"")
    return manifest


def _ids(workspace: Folder) -> list[str]:
    """Of all manifests, sorted."""
    found = map(_NAME.fullmatch, (entry.key for entry in workspace.list(FOLDER)))
    return sorted(name[1] for name in found if name)


def _id(source: str, number: int) -> str:
    return f"{hashlib.sha256(source.encode()).hexdigest()[:12]}-{number:08d}"


def _key(manifest_id: str) -> str:
    return f"{FOLDER}/{manifest_id}.parquet"


class _Draft:
    """Rows of a manifest on disk, before it has a number."""

    def __init__(self, rows: Iterable[pa.RecordBatch]) -> None:
        self._folder = TemporaryDirectory(prefix="linnaeus-manifest-")
        self._path = Path(self._folder.name) / "rows.parquet"
        self._writer = pq.ParquetWriter(self._path, MANIFEST, compression="zstd")
        self.objects = 0
        digest = hashlib.sha256()
        for batch in gathered(rows, MANIFEST, _ROW_GROUP_ROWS):
            self._writer.write_batch(batch)
            self.objects += batch.num_rows
            digest.update(batch.serialize())
        self.digest = digest.hexdigest()
        """Of all rows; another version of Arrow may give another one, and so a new manifest."""

    def __enter__(self) -> "_Draft":
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()
        self._folder.cleanup()

    def file(self, manifest: Manifest) -> Path:
        """The Parquet file of a manifest with these rows; they are written again if it is not the
        first that is asked for.
        """
        kept = {
            "source": manifest.source,
            "number": str(manifest.number),
            "digest": self.digest,
            "objects": str(manifest.objects),
        }
        if self._writer.is_open:
            self._writer.add_key_value_metadata(kept)
            self._writer.close()
            return self._path
        path = self._path.with_name(f"{manifest.number}.parquet")
        with pq.ParquetWriter(path, MANIFEST, compression="zstd") as writer:
            for batch in pq.ParquetFile(self._path).iter_batches(_ROW_GROUP_ROWS):
                writer.write_batch(batch.cast(MANIFEST))
            writer.add_key_value_metadata(kept)
        return path


def _metadata(workspace: Folder, manifest_id: str) -> dict[str, str]:
    with _naming(workspace, manifest_id), workspace.open(_key(manifest_id)) as file:
        kept = pq.read_metadata(file).metadata
    return {key.decode(): value.decode() for key, value in kept.items()}


@contextmanager
def _naming(workspace: Folder, manifest_id: str) -> Iterator[None]:
    """Say which manifest it is that does not exist or is damaged."""
    remedy = "delete it, and the next command lists its source anew"
    try:
        with documents.intact(workspace.uri_of(_key(manifest_id)), remedy):
            yield
    except StorageError as e:
        if e.code is FailureCode.NOT_FOUND:
            unknown = f"there is no manifest {manifest_id} in {workspace.uri}"
            raise ConfigurationError(unknown) from e
        raise
