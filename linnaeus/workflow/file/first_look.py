"""A look at images that nobody has listed yet: about how many there are, and how they are labelled.

A large bucket is not listed for it: of each top folder a page of keys is looked at, at most.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from linnaeus.errors import ConfigurationError, StorageError
from linnaeus.images import IMAGE_SUFFIXES
from linnaeus.manifests import SYNONYMS, is_hidden, is_manifest_file, read_rows, s3_inventory
from linnaeus.storage import (
    PAGE_KEYS,
    Bucket,
    Entry,
    Folder,
    is_local,
    normalise,
    read_named,
    split_uri,
)

PAGES = 40
LOCAL_FILES = 100_000
LABELS = range(2, 201)
"""So many folders may be labels; more are users, days or albums."""

_LAST_CHARACTER = "\U0010ffff"
_NO_LABELS = (
    re.compile(r"(19|20)\d\d([-_]?\d\d)*|\d\d"),  # dates
    re.compile(r"[0-9a-f]{2,}"),  # hashes
    re.compile(r".*=.*|(images?|photos?|pictures?|uploads?|img|raw|data|part|batch)[-_]?\d*"),
)
_DAY = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\dZ")
_INVENTORY_DEPTH = 5
_INVENTORY_FOLDERS = ("inventory", "inventories", "s3-inventory")


@dataclass(frozen=True)
class Look:
    """What was seen."""

    images: int
    size_bytes: int
    complete: bool
    """False: there are more images than those that were counted."""
    labels: tuple[str, ...] = ()
    """Folders that look like labels, or labels of a list."""
    inventory: str | None = None
    """The newest S3 Inventory of the bucket that lies in it."""

    @property
    def labelled(self) -> bool:
        """Whether the images seem to have labels."""
        return len(self.labels) > 1


def look_at(images: str) -> Look:
    """Look at a folder, a prefix, a list or an Inventory.

    Raises:
        ConfigurationError: there is no such thing, or no image in it.
        StorageError: the store does not give it.
    """
    source = normalise(images)
    if s3_inventory.is_inventory(source):
        s3_inventory.source_of(source)
        return Look(0, 0, complete=False)
    if is_manifest_file(source):
        return _list(source)
    return _local(source) if is_local(source) else _bucket(source)


def _list(source: str) -> Look:
    rows = read_rows(source, read_named(source))
    labels = sorted({label for row in rows for label in (row.label, *(row.labels or ())) if label})
    return Look(len(rows), 0, complete=True, labels=tuple(labels))


def _local(source: str) -> Look:
    if not Path(source).is_dir():
        raise ConfigurationError(f"there is no folder {source}: check the name")
    entries = list(islice(Folder(source).list(), LOCAL_FILES))
    return _seen(source, entries, complete=len(entries) < LOCAL_FILES)


def _bucket(source: str) -> Look:
    entries: dict[str, Entry] = {}
    complete = True
    in_order = not source.startswith("az://")  # which has no listing from a key on
    for page, whole in islice(_first_pages(Bucket(source)), PAGES if in_order else 1):
        entries |= {entry.key: entry for entry in page}
        complete = complete and whole
    look = _seen(source, list(entries.values()), complete=complete)
    return replace(look, inventory=_newest_inventory(source))


def _first_pages(bucket: Bucket) -> Iterator[tuple[list[Entry], bool]]:
    """The first page of each top folder, and whether nothing of it is left out."""
    after: str | None = None
    while page := next(bucket.pages("", after), []):
        last = max(entry.key for entry in page)
        if len(page) < PAGE_KEYS or (after is not None and last <= after):
            yield page, True
            return
        yield page, False
        top, slash, _ = last.partition("/")
        after = f"{top}/{_LAST_CHARACTER}" if slash else last


def _seen(source: str, entries: list[Entry], *, complete: bool) -> Look:
    images = [entry for entry in entries if _is_image(entry.key)]
    if not images:
        suffixes = " ".join(IMAGE_SUFFIXES)
        raise ConfigurationError(f"no images in {source}: their names end in {suffixes}")
    size_bytes = sum(entry.size for entry in images)
    return Look(len(images), size_bytes, complete, _labels([entry.key for entry in images]))


def _is_image(key: str) -> bool:
    return key.lower().endswith(IMAGE_SUFFIXES) and not is_hidden(key)


def _labels(keys: list[str]) -> tuple[str, ...]:
    """Names of top folders, or of those below train, test and so on, if they look like labels."""
    parts = [key.split("/")[:-1] for key in keys]
    if all(part and part[0].lower() in SYNONYMS for part in parts):
        parts = [part[1:] for part in parts]
    names = sorted({part[0] for part in parts if part})
    inside = sum(1 for part in parts if part)
    odd = any(all(kind.fullmatch(name.lower()) for name in names) for kind in _NO_LABELS)
    return tuple(names) if len(names) in LABELS and not odd and 2 * inside >= len(keys) else ()


def _newest_inventory(source: str) -> str | None:
    """Of the bucket, where one lies in it under a usual name."""
    scheme, bucket, _ = split_uri(source)
    if scheme != "s3":
        return None
    root = Folder(f"s3://{bucket}")
    try:
        inventories = (_inventory_below(root, top) for top in (*_INVENTORY_FOLDERS, bucket))
        return next(filter(None, inventories), None)
    except StorageError:  # the images' own prefix may be all that one may list
        return None


def _inventory_below(root: Folder, folder: str) -> str | None:
    """By way of the last folder of each level: of days, the newest."""
    for _ in range(_INVENTORY_DEPTH):
        names = root.folders(folder)
        if days := [name for name in names if _DAY.fullmatch(name)]:
            key = f"{folder}/{max(days)}/{s3_inventory.NAME}"
            return root.uri_of(key) if root.head(key) else None
        if not names:
            return None
        folder = f"{folder}/{names[-1]}"
    return None
