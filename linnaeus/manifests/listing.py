"""Find the images below a folder, many requests at a time.

Sub-folders are listed side by side. A folder of an object store with more keys than one page
and no sub-folders is cut into ranges of keys, and these again while threads are idle.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import chain, pairwise

import pyarrow as pa
import pyarrow.compute as pc

from linnaeus.images import IMAGE_NAME
from linnaeus.records import LISTING
from linnaeus.storage import PAGE_KEYS, Bucket, Entry, Folder, Walk, is_local

_LOCAL_THREADS = 4

_REMOTE_THREADS = 32

_LAST_CHARACTER = "\U0010ffff"

_BELOW_PRINTABLE, _ABOVE_PRINTABLE = 0x1F, 0x7F


def list_images(root: Folder, start: str = "", skip: str | None = None) -> Iterator[pa.RecordBatch]:
    """List the images below a folder page by page, schema `LISTING`, in any order.

    A key comes twice where a store's pages repeat it.

    An image is what ends like one (`.jpg`, `.PNG`, …) and has no part of its path hidden.

    Args:
        root: the folder; entries' keys are relative to it.
        start: the beginning that their keys must have; it may end within a name.
        skip: the key of a sub-folder to leave out.
    """

    def wanted(key: str) -> bool:
        skipped = skip is not None and f"{key}/".startswith(f"{skip}/")
        return key.startswith(start) and not is_hidden(key) and not skipped

    listing = _LocalListing(root, wanted) if is_local(root.uri) else _BucketListing(root, wanted)
    for page in listing.pages(start):
        yield images_among(_batch([entry for entry in page if wanted(entry.key)]))


def images_among(page: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of a listing (schema `LISTING`) that are images and not hidden."""
    hidden = pc.match_substring_regex(page["key"], "(^|/)[._]")
    image = pc.match_substring_regex(page["key"], IMAGE_NAME)
    return page.filter(pc.and_not(image, hidden))


def _batch(entries: list[Entry]) -> pa.RecordBatch:
    columns = [
        [valid(entry.key) for entry in entries],
        [entry.size for entry in entries],
        [entry.etag for entry in entries],
        [entry.modified for entry in entries],
    ]
    return pa.record_batch(columns, schema=LISTING)


def valid(text: str) -> str:
    """Make a file name that is not UTF-8 writable; reading it then fails as NOT_FOUND."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def is_hidden(key: str) -> bool:
    """Whether any part of a path begins with `.` or `_`."""
    return key.startswith((".", "_")) or "/." in key or "/_" in key


@dataclass(frozen=True)
class _Level:
    """The objects directly in a folder; its sub-folders become tasks of their own."""

    folder: str


@dataclass(frozen=True)
class _Branch:
    """Everything below a folder of a bucket, at whatever depth."""

    folder: str


@dataclass(frozen=True)
class _Range:
    """The keys of a folder without sub-folders, from behind `after` up to `before`."""

    folder: str
    after: str
    before: str


_Task = _Level | _Branch | _Range

_Result = tuple[list[Entry], list[_Task]]


class _LocalListing:
    """Folders of this machine, a few at a time: network file systems answer slowly."""

    def __init__(self, root: Folder, wanted: Callable[[str], bool]) -> None:
        self._walk = Walk(root.uri)
        self._wanted = wanted

    def pages(self, start: str) -> Iterator[list[Entry]]:
        del start  # one level costs little, and `wanted` leaves the rest out
        for link in self._walk.starts():
            if not link or self._wanted(link):
                yield from _side_by_side(_Level(link), self._run, _LOCAL_THREADS)

    def _run(self, task: _Task) -> _Result:
        entries, folders = self._walk.enter(task.folder)
        return entries, [_Level(folder) for folder in folders if self._wanted(folder)]


class _BucketListing:
    """Keys of a bucket.

    Which way a folder is listed never changes what is found: where keys turn out not to be flat
    or not in order, the folder is listed again level by level.
    """

    def __init__(self, root: Folder, wanted: Callable[[str], bool]) -> None:
        self._bucket = Bucket(root.uri)
        self._wanted = wanted
        # Azure has no listing from a key on: obstore reads and drops all before it.
        self._has_offsets = not root.uri.startswith("az://")

    def pages(self, start: str) -> Iterator[list[Entry]]:
        first: _Task = _Branch("")
        if start:
            whole = _Range("", _just_below(start), start + _LAST_CHARACTER)
            first = whole if self._has_offsets else _Level("")
        yield from _side_by_side(first, self._run, _REMOTE_THREADS)

    def _run(self, task: _Task) -> _Result:
        match task:
            case _Level():
                return self._level(task.folder)
            case _Branch():
                return self._branch(task.folder)
            case _Range():
                return self._range(task)

    def _level(self, folder: str) -> _Result:
        entries, folders = self._bucket.page(folder)
        return entries, [_Branch(name) for name in folders if self._wanted(name)]

    def _branch(self, folder: str) -> _Result:
        pages = self._bucket.pages(folder)
        first = next(pages, [])
        if len(first) < PAGE_KEYS:
            return first, []
        if not _is_flat(folder, first):
            return [], [_Level(folder)]
        if not self._has_offsets:
            return [*first, *chain.from_iterable(pages)], []
        start = f"{folder}/" if folder else ""
        return first, [_Range(folder, first[-1].key, start + _LAST_CHARACTER)]

    def _range(self, task: _Range) -> _Result:
        page = next(self._bucket.pages(task.folder, task.after or None), [])
        if not _is_flat(task.folder, page):
            return [], [_Level(task.folder)]
        inside = [entry for entry in page if entry.key <= task.before]
        if len(inside) < PAGE_KEYS:
            return inside, []
        return inside, [replace(task, after=inside[-1].key)]


def _just_below(start: str) -> str:
    """Return an offset before all keys that begin with `start`, with few others in between.

    `start` itself would not do: SeaweedFS passes over a folder that has an offset's name.
    """
    lower = chr(ord(start[-1]) - 1)
    return start[:-1] + (f"{lower}~" if lower.isprintable() else "")


def _is_flat(folder: str, page: list[Entry]) -> bool:
    start = len(folder) + 1 if folder else 0
    in_order = all(a.key < b.key for a, b in pairwise(page))
    return in_order and not any("/" in entry.key[start:] for entry in page)


def _side_by_side(
    first: _Task, run: Callable[[_Task], _Result], threads: int
) -> Iterator[list[Entry]]:
    """Run a task and those it leads to, cutting ranges in two while threads are idle."""
    levels: set[str] = set()
    with ThreadPoolExecutor(threads) as pool:
        running: set[Future[_Result]] = {pool.submit(run, first)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for entries, tasks in [future.result() for future in done]:
                yield entries
                for task in _not_levelled(tasks, levels):
                    parts = cut(task) if len(running) < threads else [task]
                    running |= {pool.submit(run, part) for part in parts}


def _not_levelled(tasks: list[_Task], levels: set[str]) -> Iterator[_Task]:
    """Drop the ranges of folders that are listed level by level, and second listings of these."""
    for task in tasks:
        if isinstance(task, _Branch) or task.folder not in levels:
            yield task
        if isinstance(task, _Level):
            levels.add(task.folder)


def cut(task: _Task) -> list[_Task]:
    """Cut a range in two where that can be; leave other tasks whole."""
    if not isinstance(task, _Range):
        return [task]
    middle = between(task.after, task.before)
    if middle is None:
        return [task]
    return [replace(task, before=middle), replace(task, after=middle)]


def between(low: str, high: str) -> str | None:
    """Return a key strictly between two others in code-point order, about half way.

    Only printable ASCII characters are added, and none that would end a path segment; None where
    there is no such key.
    """
    shared = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    for position in range(shared, len(low) + 1):
        bottom = ord(low[position]) if position < len(low) else _BELOW_PRINTABLE
        top = ord(high[position]) if position == shared else _ABOVE_PRINTABLE
        half = (bottom + min(top, _ABOVE_PRINTABLE)) // 2
        character = "0" if chr(half) in "./" else chr(half)
        middle = low[:position] + character
        if half > _BELOW_PRINTABLE and low < middle < high:
            return middle
    return None
