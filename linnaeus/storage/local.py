"""Objects that are files of this machine, by the operating system's own calls."""
# ruff: noqa: D102 - the methods are documented where they are public, at `storage.Folder`

import errno
import fcntl
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from linnaeus.errors import FailureCode, StorageError
from linnaeus.plain_text import NO_SPACE
from linnaeus.storage.uris import Entry, Page, absent, inside

RECENT_MARK = "~"
"""Separates a local etag from the listing time of a file that may still be changing."""

_PARTIAL = ".partial"
_PARTIAL_NAME = re.compile(r"\.[0-9a-f]{16}\.partial")
_READ_CODES = {
    errno.EACCES: FailureCode.ACCESS_DENIED,
    errno.EPERM: FailureCode.ACCESS_DENIED,
    errno.ENOENT: FailureCode.NOT_FOUND,
    errno.ENOTDIR: FailureCode.NOT_FOUND,
    errno.EISDIR: FailureCode.NOT_FOUND,
    errno.ELOOP: FailureCode.NOT_FOUND,
    errno.ENAMETOOLONG: FailureCode.NOT_FOUND,
    errno.ESTALE: FailureCode.CHANGED,
    errno.ETIMEDOUT: FailureCode.TIMEOUT,
}
_NOT_FLUSHED = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.ENOENT}
"""Folders on some file systems, or that may be entered and not read; what is gone meanwhile."""


def etag_of(status: os.stat_result) -> str:
    """Name a version of a file: inode, modification time [ns] and size, in hexadecimal."""
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def read_file(path: str, etag: str | None = None, most_bytes: float = math.inf) -> bytes:
    """Read a whole file; with an etag, raise `StorageError(CHANGED)` unless it is that version.

    One that is larger than `most_bytes` is TOO_LARGE, unread: it might not fit into memory.
    """
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer that never comes.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "not a file", path)
            if status.st_size > most_bytes:
                raise StorageError(
                    f"{path} has {status.st_size:,} bytes, more than are read at once",
                    FailureCode.TOO_LARGE,
                )
            data = file.read()
            found = etag_of(os.fstat(file.fileno()))
    except (OSError, ValueError) as e:
        raise read_error(path, e) from e
    if etag is not None and found != etag.partition(RECENT_MARK)[0]:
        raise StorageError(f"{path} changed since it was listed: run again", FailureCode.CHANGED)
    return data


def read_error(path: str, error: OSError | ValueError) -> StorageError:
    """Say in one line why a path cannot be read."""
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    code = _READ_CODES.get(number or 0, FailureCode.SERVER_ERROR)
    reason = os.strerror(number).lower() if number else str(error)
    if number == errno.ENOENT and Path(path).is_symlink():
        reason = "a link that leads nowhere"
    elif number == errno.ENOENT and "\N{REPLACEMENT CHARACTER}" in path:
        reason += "; if its name is not UTF-8, rename it"
    return StorageError(f"cannot read {path}: {reason}", code)


def write_error(path: str, error: OSError) -> StorageError:
    """Say in one line why a path cannot be written."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in NO_SPACE:
        return StorageError(f"cannot write {path}: {reason}: make room", FailureCode.SERVER_ERROR)
    remedy = "choose a folder that you may write to"
    return StorageError(f"cannot write {path}: {reason}: {remedy}", FailureCode.ACCESS_DENIED)


def flush(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, outlive a loss of power, where that can be."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as e:
        if e.errno not in _NOT_FLUSHED:
            raise


def flush_tree(folder: Path) -> None:
    """Do so with all that lies in a folder, before it is renamed to where it counts."""
    for path in (*folder.rglob("*"), folder):
        flush(path)


def _is_abandoned(partial: Path) -> bool:
    """Whether nobody alive holds the lock of a file."""
    try:
        with partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def entry_of(key: str, status: os.stat_result) -> Entry:
    """Describe a file by its `stat`."""
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return Entry(key, status.st_size, etag_of(status), modified)


def broken_off(root: str) -> Iterator[Entry]:
    """What writes that were killed left behind, of files and of folders."""
    for pattern in (f".*{_PARTIAL}", ".staging-*/**/*", ".withdrawn-*/**/*", ".download-*/**/*"):
        for path in filter(Path.is_file, Path(root).rglob(pattern)):
            yield entry_of(path.relative_to(root).as_posix(), path.stat())


class LocalFiles:
    """The files below one local folder; keys are relative paths."""

    def __init__(self, root: str) -> None:
        self._root = root

    def _path(self, key: str) -> str:
        return inside(self._root, key)

    def read(self, key: str, etag: str | None = None) -> bytes:
        return read_file(self._path(key), etag)

    def read_range(self, key: str, start: int, end: int) -> bytes:
        with self.open(key) as file:
            file.seek(start)
            return file.read(end - start)

    def open(self, key: str) -> IO[bytes]:
        path = self._path(key)
        try:
            return Path(path).open("rb")
        except (OSError, ValueError) as e:
            raise read_error(path, e) from e

    def write_new(self, key: str, data: bytes | memoryview) -> bool:
        path, is_new = Path(self._path(key)), True

        def link(partial: Path) -> None:
            """A hard link fails where the name exists: exactly one of many writers wins."""
            nonlocal is_new
            try:
                path.hardlink_to(partial)
            except FileExistsError:
                is_new = False

        with _whole(path, link) as file:
            file.write(data)
        return is_new

    def write(self, key: str, data: bytes) -> None:
        with self.writing(key) as file:
            file.write(data)

    def writing(self, key: str) -> AbstractContextManager[IO[bytes]]:
        path = Path(self._path(key))
        return _whole(path, lambda partial: partial.replace(path))

    def sweep(self) -> None:
        for path in Path(self._root).glob(f".*{_PARTIAL}"):
            if _PARTIAL_NAME.fullmatch(path.name) and _is_abandoned(path):
                self.delete(path.name)

    def head(self, key: str) -> Entry | None:
        try:
            status = os.stat(self._path(key))  # noqa: PTH116 - a third of Path.stat's time, called a million times
        except StorageError:
            return None  # no file can have that name
        except (OSError, ValueError) as e:
            error = read_error(self._path(key), e)
            if error.code is FailureCode.NOT_FOUND:
                return None
            raise error from e
        return entry_of(key, status) if stat.S_ISREG(status.st_mode) else None

    def walk(self, prefix: str = "") -> Iterator[Entry]:
        walk = Walk(self._root, prefix.strip("/"))
        for start in walk.starts():
            waiting = [start]
            while waiting:
                files, folders = walk.enter(waiting.pop())
                yield from files
                waiting.extend(folders)

    def page(self, folder: str) -> Page:
        """List one folder: the files directly in it, and the keys of its sub-folders."""
        path = self._path(folder)
        try:
            with os.scandir(path) as found:
                return _sort_out(folder, list(found))
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        except OSError as e:
            raise read_error(path, e) from e

    def folders(self, prefix: str = "") -> list[str]:
        return sorted(key.rpartition("/")[2] for key in self.page(prefix.strip("/"))[1])

    def delete(self, key: str) -> None:
        path = Path(self._path(key))
        try:
            path.unlink(missing_ok=True)
        except OSError as e:
            raise write_error(str(path), e) from e


class Walk:
    """Each folder below one is entered once, however many links lead to it.

    Links come after all that is there without them, those that lie highest first, so that of
    several ways to a folder the same one counts every time.
    """

    def __init__(self, root: str, start: str = "") -> None:
        self._root, self._links = root, [start]
        self._entered: set[Path] = set()

    def starts(self) -> Iterator[str]:
        """The first folder, and then links, of which more may come while one is walked."""
        while self._links:
            self._links.sort(key=lambda link: (link.count("/"), link))
            yield self._links.pop(0)

    def enter(self, folder: str) -> Page:
        """As `LocalFiles.page`, without links; nothing where it was entered before."""
        place = Path(inside(self._root, folder)).resolve()
        if place in self._entered:
            return [], []
        self._entered.add(place)
        files, folders = LocalFiles(self._root).page(folder)
        links = {one for one in folders if Path(inside(self._root, one)).is_symlink()}
        self._links += links
        return files, [one for one in folders if one not in links]


def _sort_out(folder: str, found: list[os.DirEntry[str]]) -> Page:
    files, folders = [], []
    start = f"{folder}/" if folder else ""
    for item in found:
        if _is_folder(item):
            folders.append(start + item.name)
        elif not _is_partial(item.name) and (entry := _entry(start + item.name, item)):
            files.append(entry)
    return files, folders


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself
        return False


def _entry(key: str, item: os.DirEntry[str]) -> Entry | None:
    try:
        status = item.stat()
    except OSError:
        # A link that leads nowhere is listed, and reading it says why; a file that was deleted
        # meanwhile is not.
        return absent(key) if item.is_symlink() else None
    return entry_of(key, status) if stat.S_ISREG(status.st_mode) else None


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        flush(folder.parent)


@contextmanager
def _whole(path: Path, put: Callable[[Path], object]) -> Iterator[IO[bytes]]:
    """A new file beside `path`, which is put there when its bytes are on disk, else deleted."""
    partial = path.with_name(f".{secrets.token_hex(8)}{_PARTIAL}")
    try:
        _make_folder(path.parent)
        try:
            with partial.open("xb") as file:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield file
                file.flush()
                os.fsync(file.fileno())
                put(partial)
        finally:
            partial.unlink(missing_ok=True)
            flush(path.parent)
    except OSError as e:
        raise write_error(str(path), e) from e


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(_PARTIAL)
