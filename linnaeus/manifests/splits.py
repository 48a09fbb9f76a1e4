"""Which images train a head, which choose its settings, and which measure it.

The split of an image is a hash of its path, so it stays where it is when others come and go.
The formula is that of TensorFlow's `retrain.py` (image_retraining example, 2017), to the digit.
Of a label that the hash would leave without an image to choose or to test by, those of its images
whose hash is nearest are held out: a few dozen images are too few to leave it to chance.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from linnaeus.errors import ConfigurationError
from linnaeus.storage import join, parent

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
    Where the hash leaves a label without a row of one of these, the label's groups in `train`
    whose hash is nearest are its share, if it has one for each split; by `full-path`, which is
    `retrain.py`'s own split, only where no label has a row. ConfigurationError where a split has
    no labelled image and every label needs its last group to train on.
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
    rows = _Rows(paths, _labels(manifest), splits)
    if any(rows.labels):
        _hold_out(wanted, rows, by_label=by == "root-relative")
        if not rows.labels_in(TRAIN):
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


def _labels(manifest: pa.Table) -> list[tuple[str, ...]]:
    """Each row's labels; none where it has none."""
    single, several = manifest["label"].to_pylist(), manifest["labels"].to_pylist()
    return [
        (label,) if label is not None else tuple(labels or ())
        for label, labels in zip(single, several, strict=True)
    ]


@dataclass(frozen=True)
class _Rows:
    paths: list[str]
    labels: list[tuple[str, ...]]
    splits: list[str]

    def labels_in(self, name: str) -> set[str]:
        """Labels of which a split has a row."""
        pairs = zip(self.splits, self.labels, strict=True)
        return {label for split, labels in pairs if split == name for label in labels}

    def groups(self) -> list[_Group]:
        """The labelled groups in `train`, in the order of the hash."""
        members: dict[str, list[int]] = {}
        for index, (path, split) in enumerate(zip(self.paths, self.splits, strict=True)):
            if split == TRAIN and self.labels[index]:
                members.setdefault(group_of(path), []).append(index)
        groups = [_Group(m, {x for i in m for x in self.labels[i]}) for m in members.values()]
        return sorted(groups, key=lambda group: percentage_of(self.paths[group.members[0]]))


@dataclass(frozen=True)
class _Group:
    members: list[int]
    labels: set[str]


def _hold_out(wanted: Mapping[str, float], rows: _Rows, by_label: bool) -> None:
    """Move groups from `train` into the wanted splits where the hash left a label, or all, out."""
    present = {name: rows.labels_in(name) for name in wanted}
    every = {label for labels in rows.labels for label in labels}
    if all(found == every if by_label else found for found in present.values()):
        return
    groups = rows.groups()
    left = Counter(label for group in groups for label in group.labels)
    for label, own in sorted(_by_label(groups).items()) if by_label else ():
        names = [name for name in wanted if label not in present[name]]
        for name in names if left[label] > len(names) else ():
            for group in _move(own, name, wanted[name], rows, left):
                present[name] |= group.labels
    for name, share in wanted.items():
        if not present[name] and not _move(groups, name, share, rows, left):
            raise ConfigurationError(
                f"{len(groups)} images are too few for a {name} split: add images of each label, "
                f"or set the {name} percentage to 0"
            )


def _by_label(groups: Sequence[_Group]) -> dict[str, list[_Group]]:
    own: dict[str, list[_Group]] = {}
    for group in groups:
        for label in group.labels:
            own.setdefault(label, []).append(group)
    return own


def _move(
    groups: Sequence[_Group], name: str, share: float, rows: _Rows, left: Counter[str]
) -> list[_Group]:
    """Move the first groups, a share in %, as long as every label keeps one in `train`."""
    moved: list[_Group] = []
    for group in groups:
        if len(moved) == max(1, round(len(groups) * share / 100)):
            break
        in_train = rows.splits[group.members[0]] == TRAIN
        if in_train and all(left[label] > 1 for label in group.labels):
            left.subtract(group.labels)
            moved.append(group)
            for index in group.members:
                rows.splits[index] = name
    return moved
