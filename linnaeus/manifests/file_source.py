"""A user's own list of images with size and etag of each, as rows of a manifest."""

import posixpath
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from linnaeus.errors import ConfigurationError, StorageError
from linnaeus.manifests.file_formats import Row, read_rows
from linnaeus.manifests.label_names import check_labels
from linnaeus.manifests.listing import valid
from linnaeus.records import MANIFEST
from linnaeus.storage import (
    PAGE_KEYS,
    Entry,
    Folder,
    absent,
    is_local,
    join,
    normalise,
    parent,
    read_named,
    split_uri,
)

_THREADS = 32
_CHUNK = 256
_QUICK_SEC = 50e-6
"""A look-up that takes less is of a local disk, where threads only wait for each other."""
_LISTED_PER_WANTED = 50
"""How many keys to list for one that is wanted: a page of 1,000 costs some 20 single requests."""


@dataclass(frozen=True)
class ListedFile:
    """What a list names, with what is there."""

    table: pa.Table
    """Schema `MANIFEST`, sorted by URI, each URI once."""

    def youngest_seconds(self) -> float:
        """When a local file changed last, in seconds since the epoch; 0 for objects elsewhere."""
        local = pc.invert(pc.match_substring(self.table["uri"], "://"))
        youngest = pc.max(self.table["modified"].filter(local)).as_py()
        return youngest.timestamp() if youngest else 0.0

    def rows(self) -> Iterator[pa.RecordBatch]:
        """The table's."""
        yield from self.table.to_batches()


def list_file(source: str) -> ListedFile:
    """Read a list and describe what it names; what is not there has etag "" and size 0."""
    rows = _distinct(source, parent(source), read_rows(source, read_named(source)))
    check_labels(source, _labels_of(rows))
    found = describe(rows)
    if not any(entry.etag for entry in found):
        raise ConfigurationError(
            f"none of the {len(rows)} images in {source} exists, such as {next(iter(rows))}: "
            "a relative uri starts at the file's own folder"
        )
    return ListedFile(_table(source, rows, found))


def _table(source: str, rows: dict[str, Row], found: list[Entry]) -> pa.Table:
    columns = {
        "source": [source] * len(rows),
        "uri": [valid(uri) for uri in rows],
        "etag": [entry.etag for entry in found],
        "size": [entry.size for entry in found],
        "modified": [entry.modified if entry.etag else None for entry in found],
        "label": [row.label and valid(row.label) for row in rows.values()],
        "split": [row.split for row in rows.values()],
        "weight": [row.weight for row in rows.values()],
        "labels": [
            row.labels if row.labels is None else [valid(label) for label in row.labels]
            for row in rows.values()
        ],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in MANIFEST]
    return pa.Table.from_arrays(arrays, schema=MANIFEST).sort_by("uri")


def _labels_of(rows: dict[str, Row]) -> Iterator[tuple[str, str | None]]:
    for uri, row in rows.items():
        yield uri, row.label
        yield from ((uri, label) for label in row.labels or ())


def _distinct(source: str, folder: str, rows: list[Row]) -> dict[str, Row]:
    """Resolve the URIs and drop repeated rows; repeated URIs must agree in all else."""
    distinct: dict[str, Row] = {}
    for row in rows:
        try:
            uri = _resolve(folder, row.uri)
        except ConfigurationError as e:
            raise ConfigurationError(f"{source}, line {row.line}: {e}") from e
        first = distinct.setdefault(uri, row)
        for name in ("label", "split", "weight", "labels"):
            one, other = getattr(first, name), getattr(row, name)
            if one != other:
                raise ConfigurationError(
                    f"{source}: lines {first.line} and {row.line} give {uri} "
                    f"two {name.removesuffix('s')}s, {one!r} and {other!r}: "
                    f"keep one{_where_several(name)}"
                )
    return distinct


def _where_several(name: str) -> str:
    return ", or list all that apply in a column `labels`" if name == "label" else ""


def _resolve(folder: str, uri: str) -> str:
    if "://" in uri or uri.startswith("/"):
        return normalise(uri)
    if is_local(folder):
        return normalise(f"{folder}/{uri}")
    scheme, bucket, key = split_uri(join(folder, uri))
    return join(f"{scheme}://{bucket}", posixpath.normpath(key))


def describe(uris: Collection[str]) -> list[Entry]:
    """Describe objects by their absolute URIs, in the order given.

    One that is not there, or that may not be seen, has etag "" and size 0: reading it will say
    why. If the store answered for none of them, its StorageError is raised.
    """
    found: dict[str, Entry | StorageError] = {}
    for root, keys in _by_root(uris).items():
        listed = _listed(root, keys) if len(keys) > PAGE_KEYS and not is_local(root) else {}
        found |= {f"{root}/{key}": entry for key, entry in listed.items()}
        found |= _looked_up(root, [key for key in keys if key not in listed])
    answers = [found[uri] for uri in uris]
    errors = [answer for answer in answers if isinstance(answer, StorageError)]
    if errors and len(errors) == len(answers):
        raise errors[0]
    return [
        absent(uri) if isinstance(answer, StorageError) else answer
        for uri, answer in zip(uris, answers, strict=True)
    ]


def _by_root(uris: Collection[str]) -> dict[str, list[str]]:
    """Group URIs by bucket; the root of local paths is ''."""
    keys: dict[str, list[str]] = defaultdict(list)
    for uri in uris:
        if is_local(uri):
            keys[""].append(uri[1:])
        else:
            scheme, bucket, key = split_uri(uri)
            keys[f"{scheme}://{bucket}"].append(key)
    return keys


def _listed(root: str, keys: list[str]) -> dict[str, Entry]:
    """Describe keys by listing the folder they share, unless too much else lies in it."""
    wanted = set(keys)
    budget = _LISTED_PER_WANTED * len(keys)
    shared = posixpath.commonprefix(keys).rpartition("/")[0]
    # A folder's own leading slash would be taken for none.
    listing = Folder(root).list("" if shared.startswith("/") else shared)
    found = {entry.key: entry for entry in islice(listing, budget) if entry.key in wanted}
    complete = next(listing, None) is None
    return {key: absent(key) for key in keys if complete} | found


def _looked_up(root: str, keys: list[str]) -> dict[str, Entry | StorageError]:
    folder = Folder(root or "/")

    def look_up(chunk: list[str]) -> list[Entry | StorageError]:
        return [_look_up(folder, key) for key in chunk]

    size = _CHUNK if is_local(root) else 1
    chunks = [keys[start : start + size] for start in range(0, len(keys), size)]
    started = time.perf_counter()
    answers = look_up(keys[:size])
    is_quick = time.perf_counter() - started < _QUICK_SEC * size
    with ThreadPoolExecutor(1 if is_quick else _THREADS) as pool:
        answers += [answer for found in pool.map(look_up, chunks[1:]) for answer in found]
    return {f"{root}/{key}": answer for key, answer in zip(keys, answers, strict=True)}


def _look_up(folder: Folder, key: str) -> Entry | StorageError:
    try:
        return folder.head(key) or absent(key)
    except StorageError as e:
        return e
