"""Turn what a person names as IMAGES into the rows of a manifest.

IMAGES is a folder (a label is the name of the folder below it), the beginning of names in a
folder, or a manifest file.
"""

from __future__ import annotations

import posixpath
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from linnaeus.errors import ConfigurationError, FailureCode, StorageError
from linnaeus.listing import IMAGE_SUFFIXES, list_images
from linnaeus.local_files import RECENT_MARK
from linnaeus.locations import Entry, is_local, join, normalise, parent, split_uri
from linnaeus.manifest_files import SUFFIXES as MANIFEST_SUFFIXES
from linnaeus.manifest_files import Row, is_manifest_file, read_rows
from linnaeus.object_descriptions import describe
from linnaeus.records import MANIFEST
from linnaeus.splits import SYNONYMS, TRAIN
from linnaeus.storage import Folder

RECENT_SECONDS = 2.0
"""A file younger than this may change again without a new modification time."""

_SUFFIXES = " ".join(IMAGE_SUFFIXES)


def read_source(images: str, workspace: Folder) -> pa.Table:
    """List the images of a source now: schema `records.MANIFEST`, one row a URI, sorted by it.

    Where local files were written just now, this waits, two seconds at most, until their age
    tells any later change, and lists again: what is embedded can then be found again.
    """
    started_ns = time.time_ns()
    listed = _list(images, workspace)
    youngest = max(map(_changed_seconds, listed.uris, listed.entries))
    settled_in_seconds = youngest + RECENT_SECONDS - started_ns / 1e9
    if 0 < settled_in_seconds <= RECENT_SECONDS:
        time.sleep(settled_in_seconds)
        started_ns = time.time_ns()
        listed = _list(images, workspace)
    return _table(normalise(images), listed, started_ns)


def _list(images: str, workspace: Folder) -> _Listed:
    source = normalise(images)
    if is_manifest_file(source):
        return _from_file(source)
    return _from_folder(source, workspace, is_folder=images.endswith("/"))


def _changed_seconds(uri: str, entry: Entry) -> float:
    """When a local file changed last, in seconds since the epoch; 0 for objects elsewhere."""
    return entry.modified.timestamp() if is_local(uri) and entry.etag else 0.0


@dataclass(frozen=True)
class _Listed:
    """What a listing found, column by column."""

    uris: list[str]
    entries: list[Entry]
    labels: Sequence[str | None]
    splits: Sequence[str | None]
    weights: Sequence[float | None]
    label_sets: Sequence[Sequence[str] | None]


def _from_folder(source: str, workspace: Folder, *, is_folder: bool) -> _Listed:
    root, start = _root_and_start(source, is_folder=is_folder)
    if root.uri == workspace.uri and not start:
        raise ConfigurationError(
            f"{source} is the workspace itself: keep images and workspace in folders of their own"
        )
    entries = list_images(root, start, skip=_below(root.uri, workspace.uri))
    if not entries:
        raise _no_images(source, root, start)
    return _from_entries(source, root, entries)


def _no_images(source: str, root: Folder, start: str) -> ConfigurationError:
    """Say what is there instead, where `start` begins names in `root` or the folder is empty."""
    if not start:
        return ConfigurationError(f"no images in {source}: their names end in {_SUFFIXES}")
    if root.head(start):
        kinds = ", ".join(MANIFEST_SUFFIXES)
        return ConfigurationError(
            f"{source} is neither an image nor a list of images: IMAGES is a folder, the "
            f"beginning of names, or a file that ends in {kinds}"
        )
    return ConfigurationError(
        f"there is no such folder or file as {source}, and no image whose name begins so: "
        "check the name"
    )


def _root_and_start(source: str, *, is_folder: bool) -> tuple[Folder, str]:
    """Find the folder that is meant, and the beginning of its names where not all of it is."""
    root, above = Folder(source), Folder(parent(source))
    start = source[len(above.uri) :].lstrip("/")
    if is_local(source):
        exists = Path(source).is_dir()
    else:
        exists = is_folder or not start or next(iter(root.list()), None) is not None
    if exists:
        return root, ""
    if is_folder or (is_local(source) and not Path(above.uri).is_dir()):
        raise ConfigurationError(f"there is no folder {source}: check the name")
    return above, start


def _below(root: str, uri: str) -> str | None:
    start = root.rstrip("/") + "/"
    return uri[len(start) :] if uri.startswith(start) else None


def _from_entries(source: str, root: Folder, entries: list[Entry]) -> _Listed:
    folders = [entry.key.split("/")[:-1] for entry in entries]
    split_folders = _split_folders(source, {path[0] for path in folders if path})
    splits = [split_folders.get(path[0]) if path else None for path in folders]
    depth = 1 if split_folders else 0
    labels = [path[depth] if len(path) > depth else None for path in folders]
    start = root.uri.rstrip("/")
    uris = [f"{start}/{entry.key}" for entry in entries]
    _check_labels(source, zip(uris, labels, strict=True))
    nothing = [None] * len(entries)
    return _Listed(uris, entries, labels, splits, weights=nothing, label_sets=nothing)


def _split_folders(source: str, top: set[str]) -> dict[str, str]:
    """Map folder names to splits where the top folders are splits and not labels.

    They are where all of them have the name of a split. With at least two such names and one
    other, nobody can tell; with one (a label 'train' among 'bus' and 'car') they are labels.
    """
    splits = {name: SYNONYMS[name.lower()] for name in top if name.lower() in SYNONYMS}
    others = sorted(top - set(splits))
    if not others:
        return splits
    if TRAIN in splits.values() and len(set(splits.values())) > 1:
        raise ConfigurationError(
            f"{source}: {', '.join(sorted(splits))} look like splits but {others[0]} does not: "
            "move it elsewhere, or list the images in a CSV file with columns uri,label,split"
        )
    return {}


def _check_labels(source: str, labels: Iterable[tuple[str, str | None]]) -> None:
    """Refuse two labels that read the same: in other Unicode forms, or with other spaces."""
    first: dict[str, str] = {}
    for uri, label in labels:
        if label:
            first.setdefault(label, uri)
    seen: dict[str, str] = {}
    for label in sorted(first):
        read = " ".join(unicodedata.normalize("NFC", label).split())
        other = seen.setdefault(read, label)
        if other != label:
            raise ConfigurationError(
                f"{source}: the labels {other} ({other!a}, of {first[other]}) and {label} "
                f"({label!a}, of {first[label]}) read the same: rename one, or both to the same"
            )


def _from_file(source: str) -> _Listed:
    folder = Folder(parent(source))
    try:
        data = folder.read(posixpath.basename(source))
    except StorageError as e:
        if e.code is FailureCode.NOT_FOUND:
            raise ConfigurationError(f"there is no file {source}: check the name") from e
        raise
    rows = _distinct(source, folder.uri, read_rows(source, data))
    _check_labels(source, _labels_of(rows))
    found = describe(rows)
    if not any(entry.etag for entry in found):
        raise ConfigurationError(
            f"none of the {len(rows)} images in {source} exists, such as {next(iter(rows))}: "
            "a relative uri starts at the file's own folder"
        )
    _, _, labels, splits, weights, label_sets = zip(*rows.values(), strict=True)
    return _Listed(list(rows), found, labels, splits, weights, label_sets)


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


def _table(source: str, listed: _Listed, started_ns: int) -> pa.Table:
    pairs = list(zip(listed.uris, listed.entries, strict=True))
    columns = {
        "source": [source] * len(pairs),
        "uri": [_valid(uri) for uri in listed.uris],
        "etag": [_etag(uri, entry, started_ns) for uri, entry in pairs],
        "size": [entry.size for entry in listed.entries],
        "modified": [entry.modified if entry.etag else None for entry in listed.entries],
        "label": [label and _valid(label) for label in listed.labels],
        "split": listed.splits,
        "weight": listed.weights,
        "labels": [
            labels if labels is None else [_valid(label) for label in labels]
            for labels in listed.label_sets
        ],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in MANIFEST]
    return pa.Table.from_arrays(arrays, schema=MANIFEST).sort_by("uri")


def _etag(uri: str, entry: Entry, started_ns: int) -> str:
    """Mark a file that was changing while it was listed, so that no later etag equals this one."""
    modified_seconds = _changed_seconds(uri, entry)
    since_start = modified_seconds - started_ns / 1e9
    # A date far in the future is a wrong clock's, not a change.
    recent = since_start > -RECENT_SECONDS and modified_seconds < time.time() + RECENT_SECONDS
    return f"{entry.etag}{RECENT_MARK}{started_ns}" if recent else entry.etag


def _valid(text: str) -> str:
    """Make a file name that is not UTF-8 writable; reading it then fails as NOT_FOUND."""
    return text.encode(errors="surrogateescape").decode(errors="replace")
