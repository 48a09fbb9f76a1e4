"""A new list of a source's images from its last one and a file of keys that may have changed.

Events only say where to look: every image that they name is looked up now, in parallel, and the
list then has what is there. So events may come twice, in any order, late, or be missing their
opposite, and an old one undoes nothing; without them the list would be the same as a listing's.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa

from linnaeus.errors import ConfigurationError, FailureCode, StorageError
from linnaeus.manifests.folder_source import BATCH_ROWS, ListedFolder, stage, write_scratch
from linnaeus.manifests.listing import images_among
from linnaeus.manifests.storage_events import read_changes
from linnaeus.records import LISTING, TIMESTAMP
from linnaeus.storage import Entry, Folder, is_local, parent
from linnaeus.tables import database, query

_THREADS = 64
_CHUNK = 10_000
_KEYS = pa.schema([("key", pa.string())])
_LOOKED_UP = pa.schema(
    [*_KEYS, ("size", pa.int64()), ("etag", pa.string()), ("modified", TIMESTAMP)]
)
"""Nulls for a key without an object."""


@dataclass
class Found:
    """What came of a file of changes."""

    named: int = 0
    """Events, or lines."""
    ignored: int = 0
    """Of them, those of other places, of no image or of another kind."""
    images: int = 0
    """Different images that the others name."""
    gone: int = 0
    """Of the images, those that are not there."""


@dataclass(frozen=True)
class ChangedFolder:
    """A folder or bucket whose last list is brought up to date by a file of changes.

    Args:
        source: as people named it.
        base: the last manifest's Parquet file.
        changes: the file, or the folder of files.
        skip: URI of a folder whose objects are never listed: the workspace.
        scratch: folder for what does not fit into memory.
    """

    source: str
    base: Path
    changes: str
    skip: str
    scratch: Path
    found: Found = field(default_factory=Found)

    def take(self) -> ListedFolder:
        """Look up what the changes name, and put it into the list.

        Raises:
            ConfigurationError: the file of changes has a mistake, no image is left, or the folder
                itself is gone.
            StorageError: an object can neither be seen nor be said to be gone.
        """
        self.found.named = self.found.ignored = self.found.images = self.found.gone = 0
        root = self._root()
        write_scratch(self._named(root), self._path("named"), _KEYS)
        write_scratch(self._looked_up(Folder(root)), self._path("looked-up"), _LOOKED_UP)
        if self.found.gone:
            _refuse_vanished(root)
        if not stage(self._folded(root), self._path("listing")):
            raise ConfigurationError(f"no images are left in {self.source}")
        return ListedFolder(self.source, root, self._path("listing"))

    def _path(self, name: str) -> Path:
        return self.scratch / f"{name}.parquet"

    def _root(self) -> str:
        """What keys are relative to: the source, or what it lies in if it is no whole folder."""
        sql = "SELECT count(*) FROM base WHERE NOT starts_with(uri, $start)"
        start = {"start": _start(self.source)}
        [outside] = query(sql, {"base": self.base}, start)[0].to_pylist()
        return parent(self.source) if outside else self.source

    def _named(self, root: str) -> Iterator[pa.RecordBatch]:
        """The keys of images that the changes name, as often as they do."""
        start, skip = _start(root), _start(self.skip)
        begins = start if root == self.source else self.source
        uris = iter(read_changes(self.changes, self.source))
        while chunk := list(islice(uris, BATCH_ROWS)):
            inside = [uri for uri in chunk if uri and uri.startswith(begins)]
            keys = [uri[len(start) :] for uri in inside if not uri.startswith(skip)]
            images = _images(keys)
            self.found.named += len(chunk)
            self.found.ignored += len(chunk) - images.num_rows
            yield images

    def _looked_up(self, root: Folder) -> Iterator[pa.RecordBatch]:
        sql = "SELECT DISTINCT key FROM named"
        with (
            database({"named": self._path("named")}) as connection,
            ThreadPoolExecutor(_THREADS) as pool,
        ):
            for batch in connection.sql(sql).to_arrow_reader(_CHUNK):
                keys = batch["key"].to_pylist()
                entries = list(pool.map(partial(_look_up, root), keys))
                self.found.images += len(keys)
                self.found.gone += entries.count(None)
                yield _described(keys, entries)

    def _folded(self, root: str) -> Iterator[pa.RecordBatch]:
        # Stores tell the same time to other fractions of a second in a listing and of one object.
        start = _start(root)
        sql = f"""
            WITH listed AS (
                SELECT substr(uri, {len(start) + 1}) AS key, size, etag,
                    coalesce(modified, to_timestamp(0)) AS modified
                FROM base
            )
            SELECT key, size, etag, modified FROM listed ANTI JOIN looked_up USING (key)
            UNION ALL
            SELECT key, now.size, now.etag,
                CASE WHEN now.etag = listed.etag AND now.size = listed.size
                THEN listed.modified ELSE now.modified END
            FROM looked_up AS now LEFT JOIN listed USING (key) WHERE now.etag IS NOT NULL
        """
        sources = {"base": self.base, "looked_up": self._path("looked-up")}
        with database(sources) as connection:
            for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS):
                yield batch.cast(LISTING)


def _refuse_vanished(root: str) -> None:
    """A store says the same of an object in a bucket that is gone as of one that was deleted."""
    if not is_local(root):
        next(Folder(root).list(), None)
    elif not Path(root).is_dir():
        raise ConfigurationError(
            f"there is no folder {root}: check the name, or whether it is mounted"
        )


def _start(uri: str) -> str:
    return uri.rstrip("/") + "/"


def _images(keys: list[str]) -> pa.RecordBatch:
    return images_among(pa.record_batch([pa.array(keys, pa.string())], schema=_KEYS))


def _look_up(root: Folder, key: str) -> Entry | None:
    try:
        return root.head(key)
    except StorageError as error:
        if error.code is not FailureCode.ACCESS_DENIED:
            raise
        raise StorageError(
            f"{error}; whether an object is gone is told only to who may list (s3:ListBucket)",
            error.code,
        ) from error


def _described(keys: list[str], entries: list[Entry | None]) -> pa.RecordBatch:
    columns = [
        keys,
        [entry and entry.size for entry in entries],
        [entry and entry.etag for entry in entries],
        [entry and entry.modified for entry in entries],
    ]
    return pa.record_batch(columns, schema=_LOOKED_UP)
