"""One interface to folders that lie on this machine, in S3, Google Cloud Storage or Azure."""

import posixpath
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from mmap import ACCESS_READ, mmap
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import quote

from linnaeus.errors import ConfigurationError, FailureCode, StorageError
from linnaeus.storage import buckets
from linnaeus.storage.buckets import Bucket
from linnaeus.storage.local import LocalFiles, flush_tree, read_file
from linnaeus.storage.uris import Entry, Page, inside, is_local, join, normalise, parent, split_uri

Names = list[str]

_TRANSFERS = 16
_PIECE_BYTES = 4 << 20
_MOST_OBJECT_BYTES = 1 << 30
"""Of a local picture, page or list, which is read whole; decoders take less."""
_NUMBER = re.compile("[0-9]{1,18}")
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")


class Folder:
    """A root under which objects lie, known by keys relative to it.

    Cheap to make, safe to share between threads and to pickle: it holds only its URI, and a
    process opens one store a bucket when it first needs it. Every method raises `StorageError`
    with a `FailureCode` and a one-line message; transient errors were retried with back-off
    before, see `linnaeus.storage.retries`, and a store that is down is `StoreUnavailable`.
    """

    def __init__(self, uri: str) -> None:
        self.uri = normalise(uri)
        self._objects = LocalFiles(self.uri) if is_local(self.uri) else Bucket(self.uri)

    def __repr__(self) -> str:
        return f"Folder({self.uri!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and other.uri == self.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def uri_of(self, key: str) -> str:
        """Return the absolute location of a key."""
        return join(self.uri, key)

    def read(self, key: str, etag: str | None = None) -> bytes:
        """Read an object; with an etag, raise `StorageError(CHANGED)` if it is another version."""
        return self._objects.read(key, etag)

    def read_or_none(self, key: str) -> bytes | None:
        """Read an object, or return None where there is none."""
        try:
            return self.read(key)
        except StorageError as error:
            if error.code is FailureCode.NOT_FOUND:
                return None
            raise

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """Read the bytes from `start` up to, not including, `end`."""
        return self._objects.read_range(key, start, end)

    def open(self, key: str) -> IO[bytes]:
        """Open an object for reading in pieces, as a seekable binary file."""
        return self._objects.open(key)

    def write_new(self, key: str, data: bytes) -> bool:
        """Write an object that must not exist yet, whole or not at all; False where it exists."""
        return self._objects.write_new(key, data)

    def write_own(self, key: str, data: bytes) -> bool:
        """Write, as `write_new` does, bytes that nobody else would write; False where others exist.

        An object store may repeat a request whose answer was lost, and then say: it exists.
        """
        return self.write_new(key, data) or self.read(key) == data

    def require_creation(self, probe: str) -> None:
        """Refuse by `ConfigurationError` a store that overwrites what was to be created.

        Both of two writers would win there. Leaves nothing under the key `probe`.
        """
        self.write_new(probe, b"first")
        try:
            overwritten = self.write_new(probe, b"second")
        finally:
            self.delete(probe)
        if overwritten:
            raise ConfigurationError(
                f"{self.uri}: this store ignores If-None-Match, so of two jobs at once one would "
                "overwrite the other's work: update it, or use one with conditional writes"
            )

    def write_new_file(self, key: str, path: Path) -> bool:
        """Write a local file, which is not empty, as `write_new` does, without reading it first."""
        with (
            path.open("rb") as file,
            mmap(file.fileno(), 0, access=ACCESS_READ) as mapped,
            memoryview(mapped) as data,
        ):
            return self._objects.write_new(key, data)

    def copy_to(self, key: str, path: Path) -> None:
        """Copy an object to a local file, a piece at a time."""
        with self.open(key) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, _PIECE_BYTES)

    def write(self, key: str, data: bytes) -> None:
        """Write or replace an object, whole or not at all."""
        self._objects.write(key, data)

    def writing(self, key: str) -> AbstractContextManager[IO[bytes]]:
        """Open a file that is the object, in place of an earlier one, when its context ends well.

        One that goes to an object store is kept on the local disk until then, without a name.
        """
        return self._objects.writing(key)

    def sweep(self) -> None:
        """Delete what killed writes of objects directly in this folder left on a local disk."""
        self._objects.sweep()

    def head(self, key: str) -> Entry | None:
        """Describe an object, or return None where there is none."""
        return self._objects.head(key)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """List everything below the folder `prefix` (whole path segments), in any order."""
        return self._objects.walk(prefix)

    def numbered(self, prefix: str, key_of: Callable[[int], str]) -> dict[int, Entry]:
        """The objects below a folder that `key_of` names, by number; others are somebody else's."""
        found = {}
        for entry in self.list(prefix):
            numbers = map(int, _NUMBER.findall(entry.key.rpartition("/")[2]))
            found.update({number: entry for number in numbers if key_of(number) == entry.key})
        return found

    def page(self, folder: str) -> Page:
        """List one folder: the objects directly in it, and the keys of its sub-folders."""
        return self._objects.page(folder)

    def folders(self, prefix: str = "") -> Names:
        """List the names of the folders directly below `prefix`."""
        return self._objects.folders(prefix)

    def delete(self, key: str) -> None:
        """Delete an object; deleting what is not there is no error."""
        self._objects.delete(key)

    def download(self, prefix: str, to: Path) -> None:
        """Copy the whole tree below `prefix` into the local folder `to`, many files at a time.

        Nothing is copied where one of its keys would lead out of that folder.
        """
        keys = [entry.key for entry in _without_folders(list(self.list(prefix)))]
        if not keys:
            raise StorageError(f"there is nothing in {self.uri_of(prefix)}", FailureCode.NOT_FOUND)
        root, start = normalise(str(to)), len(prefix.strip("/"))
        paths = {key: Path(inside(root, key[start:].lstrip("/"))) for key in keys}
        for folder in {path.parent for path in paths.values()}:
            folder.mkdir(parents=True, exist_ok=True)
        _each(lambda key: self.copy_to(key, paths[key]), keys)
        flush_tree(to)

    def upload(self, source: Path, prefix: str, last: Sequence[str] = ()) -> None:
        """Copy a local tree below `prefix`, many files at a time.

        The files named in `last` are written after all others, one by one in that order, so
        that a reader who sees the last one sees everything.
        """
        tree = Folder(str(source))
        names = {entry.key for entry in tree.list()} - set(last)
        _each(lambda name: self.write(join(prefix, name).lstrip("/"), tree.read(name)), names)
        for name in last:
            self.write(join(prefix, name).lstrip("/"), tree.read(name))

    def delta(self) -> tuple[str, dict[str, str]]:
        """Return this folder as deltalake's `DeltaTable` takes it: URI and storage options."""
        if _ESCAPE.search(self.uri):
            # delta-rs decodes such a path twice and then misses its own files.
            raise ConfigurationError(f"{self.uri}: tables cannot lie under a name with '%20' or so")
        if is_local(self.uri):
            return self.uri, {}
        scheme, bucket, key = split_uri(self.uri)
        return f"{scheme}://{bucket}/{quote(key)}", buckets.delta_options(scheme)


def _without_folders(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Without the objects that stand for folders, as consoles of object stores make them."""
    folders = {str(folder) for one in entries for folder in PurePosixPath(one.key).parents}
    return [one for one in entries if one.key.rstrip("/") not in folders]


def _each(do: Callable[[str], None], keys: Iterable[str]) -> None:
    with ThreadPoolExecutor(_TRANSFERS) as pool:
        for _ in pool.map(do, keys):
            pass


def read_named(uri: str) -> bytes:
    """Read the file that a person named; `ConfigurationError` where there is none."""
    data = Folder(parent(uri)).read_or_none(posixpath.basename(uri))
    if data is None:
        bucket = "" if is_local(uri) else ", or no such bucket"
        raise ConfigurationError(f"there is no file {uri}{bucket}: check the name")
    return data


def read_object(uri: str, etag: str | None) -> bytes:
    """Read one object by its absolute location, as `Folder.read` does."""
    if is_local(uri):
        return read_file(uri, etag, _MOST_OBJECT_BYTES)
    scheme, bucket, key = split_uri(uri)
    return Bucket(f"{scheme}://{bucket}").read(key, etag)
