"""Which images train a head, which choose its settings, and which measure it.

The split of an image is a hash of its path, so it stays where it is when others come and go.
The formula is that of TensorFlow's `retrain.py` (image_retraining example, 2017), to the digit.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from linnaeus.errors import ConfigurationError
from linnaeus.locations import join, parent

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SYNONYMS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}
PATHS = ("root-relative", "full-path")

_VARIANT = re.compile("_nohash_.*$")
_BUCKETS = 2**27 - 1


def group_of(path: str) -> str:
    """Return what variants of one object share: the path up to `_nohash_`."""
    return _VARIANT.sub("", path)


def percentage_of(path: str) -> float:
    """Return where in [0, 100] a path's group falls, evenly for random paths."""
    digest = hashlib.sha1(group_of(path).encode(), usedforsecurity=False).hexdigest()
    return (int(digest, 16) % (_BUCKETS + 1)) * (100.0 / _BUCKETS)


def retrain_split(
    path: str, validation_percentage: float = 10.0, testing_percentage: float = 10.0
) -> str:
    """Return `train`, `validation` or `test` for a path, as `retrain.py` did."""
    percentage = percentage_of(path)
    if percentage < validation_percentage:
        return VALIDATION
    if percentage < validation_percentage + testing_percentage:
        return TEST
    return TRAIN


def root_relative(source: str, uri: str) -> str:
    """Return the part of a URI that stays when a source is moved.

    That is the path below the source's folder; for a manifest file or the beginning of a name,
    below the folder it lies in. A URI elsewhere is returned whole.
    """
    for root in (source, parent(source)):
        start = root.rstrip("/") + "/"
        if uri.startswith(start):
            return uri[len(start) :]
    return uri


def assign(
    manifest: pa.Table,
    validation_percentage: float = 10.0,
    testing_percentage: float = 10.0,
    by: str = "root-relative",
    root: str | None = None,
) -> pa.Array:
    """Give every row of a manifest its split, string [n]: `train`, `validation` or `test`.

    `by` says what of a path is hashed: `root-relative`, or `full-path` with `root`, where it is
    given, in place of the source's URI: `retrain.py` hashed `photos/daisy/1.jpg` of `photos`.
    A split that the manifest names is kept, and its rows without one are `train`; `validation`
    or `test`, where the manifest names no such row, is taken out of `train` by the hash.
    Where the hash leaves one of them without a labelled image, the groups of `train` whose hash
    is nearest fill it, as long as every label keeps one to train on; else ConfigurationError.
    """
    _check(validation_percentage, testing_percentage, by)
    paths = _paths(manifest, by, root)
    given = manifest["split"].to_pylist()
    hashed = {VALIDATION: validation_percentage, TEST: testing_percentage}
    wanted = {name: share for name, share in hashed.items() if share > 0 and name not in given}
    splits = []
    for path, split in zip(paths, given, strict=True):
        by_hash = retrain_split(path, validation_percentage, testing_percentage)
        splits.append(
            by_hash if (split or TRAIN) == TRAIN and by_hash in wanted else split or TRAIN
        )
    labels = manifest["label"].to_pylist()
    for name, share in wanted.items():
        _fill(name, share, _Rows(paths, labels, splits))
    if any(labels) and TRAIN not in _labelled(splits, labels):
        raise ConfigurationError(
            "no labelled image is left to train on: add images of each label, or lower the "
            "validation and test percentages"
        )
    return pa.array(splits, pa.string())


def _check(validation_percentage: float, testing_percentage: float, by: str) -> None:
    if by not in PATHS:
        raise ConfigurationError(f"cannot split by {by!r}: use {' or '.join(PATHS)}")
    held_out = validation_percentage + testing_percentage
    if not (min(validation_percentage, testing_percentage) >= 0 and held_out < 100):  # or no number
        raise ConfigurationError(
            f"validation {validation_percentage:g} % and test {testing_percentage:g} % "
            "must not be negative and must leave some images to train on"
        )


def _paths(manifest: pa.Table, by: str, root: str | None) -> list[str]:
    uris: list[str] = manifest["uri"].to_pylist()
    if by == "full-path" and root is None:
        return uris
    sources = manifest["source"].to_pylist()
    below = [root_relative(source, uri) for source, uri in zip(sources, uris, strict=True)]
    return below if by == "root-relative" else [join(root or "", path) for path in below]


@dataclass(frozen=True)
class _Rows:
    paths: list[str]
    labels: list[str | None]
    splits: list[str]


def _labelled(splits: Iterable[str], labels: Iterable[str | None]) -> set[str]:
    return {split for split, label in zip(splits, labels, strict=True) if label is not None}


def _fill(name: str, share: float, rows: _Rows) -> None:
    """Move whole groups from `train` into the split `name` where it has no labelled image."""
    if not any(rows.labels) or name in _labelled(rows.splits, rows.labels):
        return
    groups = _training_groups(rows)
    left = Counter(label for indices in groups for label in _labels(rows, indices))
    wanted = max(1, round(len(groups) * share / 100))
    moved = 0
    for indices in groups:
        labels = _labels(rows, indices)
        if moved < wanted and all(left[label] > 1 for label in labels):
            left.subtract(labels)
            moved += 1
            for index in indices:
                rows.splits[index] = name
    if not moved:
        raise ConfigurationError(
            f"{len(groups)} images are too few for a {name} split: add images of each label, "
            f"or set the {name} percentage to 0"
        )


def _training_groups(rows: _Rows) -> list[list[int]]:
    """Return the rows of each labelled group in `train`, in the order of the hash."""
    members: dict[str, list[int]] = {}
    for index, (path, split) in enumerate(zip(rows.paths, rows.splits, strict=True)):
        if split == TRAIN:
            members.setdefault(group_of(path), []).append(index)
    labelled = [indices for indices in members.values() if _labels(rows, indices)]
    return sorted(labelled, key=lambda indices: percentage_of(rows.paths[indices[0]]))


def _labels(rows: _Rows, indices: list[int]) -> set[str]:
    return {label for index in indices if (label := rows.labels[index]) is not None}
