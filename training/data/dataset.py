"""Brings a manifest's labelled images and their stored embeddings together, split by split."""

import shlex
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnaeus import manifests, splits
from linnaeus.database import query
from linnaeus.errors import ConfigurationError
from linnaeus.manifests import Manifest
from linnaeus.matrix import read_matrix, stored
from linnaeus.models import ModelBackbone
from linnaeus.state import known_objects
from linnaeus.storage import Folder
from training.config import SplitConfig
from training.data import near_duplicates
from training.data.examples import SPLITS, Examples, LabelledEmbeddings

# Equal content is used once. Where one copy is marked for the test, that one is, so that nothing
# that is trained on is tested.
_FATES = """
WITH said AS (
    SELECT * EXCLUDE labels, CASE WHEN label IS NULL THEN labels ELSE [label] END AS truth
    FROM known
)
SELECT *, CASE
    WHEN truth IS NULL THEN 'unlabelled'
    WHEN sha256 IS NULL AND code IS NULL THEN 'not embedded'
    WHEN sha256 IS NULL THEN 'failed'
    WHEN min(truth) OVER (PARTITION BY sha256) <> max(truth) OVER (PARTITION BY sha256)
        THEN 'of two labels'
    WHEN row_number() OVER (
        PARTITION BY sha256, truth ORDER BY split IS DISTINCT FROM 'test', uri) > 1
        THEN 'duplicate'
    ELSE 'used' END AS fate
FROM said ORDER BY uri
"""


@dataclass(frozen=True)
class Selection:
    """Which of a manifest's images are used, and how."""

    split: SplitConfig
    labels: tuple[str, ...] = ()
    """In the order of the scores; empty: those of the images, sorted."""


def load(
    workspace: Folder,
    manifest: Manifest,
    backbone: ModelBackbone,
    selection: Selection,
    to: Path | None = None,
) -> LabelledEmbeddings:
    """Reads the vectors of a manifest's labelled images into a matrix (in the file `to`).

    The task is `multi` where the manifest has `labels`.

    Raises:
        ConfigurationError: If there are no labels, no embeddings, a label without usable or
            training images or not among those selected, fewer than two labels, or an empty split.
    """
    judged = judge(workspace, manifest, backbone.fingerprint)
    refuse_unusable(judged, manifest, backbone)
    used = usable(judged)
    labels = selected_labels(used, selection.labels)
    assigned = assign(workspace, used, selection.split, backbone.fingerprint)
    refuse_empty(used, assigned, manifest, labels)
    order = np.argsort(pc.index_in(assigned, pa.array(SPLITS)), kind="stable")
    used, assigned = used.take(order), assigned.take(order)
    matrix = read_matrix(workspace, backbone.fingerprint, used["sha256"].to_pylist(), to)
    return _labelled(matrix, used, assigned, labels, left_out(judged))


def embedded_by(
    workspace: Folder, fingerprint: str, data: LabelledEmbeddings, to: Path | None = None
) -> LabelledEmbeddings:
    """The same images in the same splits with another backbone's vectors (in the file `to`).

    Images that it has not embedded, perhaps deleted since, are left out.
    """
    there = np.flatnonzero(stored(workspace, fingerprint, data.digests))
    uris, digests = (column.take(pa.array(there)) for column in (data.uris, data.digests))
    matrix = read_matrix(workspace, fingerprint, digests.to_pylist(), to)
    lost = {"gone": len(data.rows) - len(there)} if len(there) < len(data.rows) else {}
    return replace(
        data,
        rows=Examples(matrix, data.rows.targets[there], data.rows.weights[there]),
        uris=uris,
        digests=digests,
        slices={
            name: slice(*np.searchsorted(there, (rows.start, rows.stop)).tolist())
            for name, rows in data.slices.items()
        },
        left_out={**data.left_out, **lost},
    )


def judge(workspace: Folder, manifest: Manifest, fingerprint: str) -> pa.Table:
    """The manifest's rows with `sha256`, `code`, `truth` (its labels) and `fate`.

    The fate is `used`, or why an image cannot be.
    """
    known = known_objects(workspace, manifests.load(workspace, manifest.id), fingerprint)
    return query(_FATES, {"known": known})


def usable(judged: pa.Table) -> pa.Table:
    """The rows that can be used, by URI."""
    return judged.filter(pc.equal(judged["fate"], "used"))


def left_out(judged: pa.Table) -> dict[str, int]:
    """Images that cannot be used, counted by reason."""
    fates = judged["fate"].value_counts().to_pylist()
    return {fate["values"]: fate["counts"] for fate in fates if fate["values"] != "used"}


def selected_labels(used: pa.Table, wanted: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The labels in the order of the scores: those wanted, or all there are, sorted.

    Raises:
        ConfigurationError: If an image has a label that is not wanted, or a label has several
            lines, which the files that hold a label a line cannot.
    """
    if not wanted:
        labels = tuple(sorted(set(pc.list_flatten(used["truth"]).to_pylist())))
        _refuse_lines(labels)
        return labels
    for uri, truth in zip(used["uri"].to_pylist(), used["truth"].to_pylist(), strict=True):
        for label in truth:
            if label not in wanted:
                near = get_close_matches(label, wanted, n=1)
                remedy = f"do you mean {near[0]!r}?" if near else "add it there"
                raise ConfigurationError(
                    f"{uri} has the label {label!r}, which is not in the list of labels: {remedy}"
                )
    return wanted


def _refuse_lines(labels: tuple[str, ...]) -> None:
    for label in labels:
        if "\n" in label or "\r" in label:
            raise ConfigurationError(
                f"the label {label!r} has a line break, and labels are kept one a line: rename it"
            )


def is_multi(used: pa.Table) -> bool:
    """Whether several labels may apply to an image."""
    return bool(pc.any(pc.is_null(used["label"])).as_py())


def assign(workspace: Folder, used: pa.Table, split: SplitConfig, fingerprint: str) -> pa.Array:
    """The split of each row, string [n]."""
    first = [truth[0] if truth else "" for truth in used["truth"].to_pylist()]
    labelled = used.set_column(used.schema.get_field_index("label"), "label", [first])
    assigned = splits.assign(
        labelled, split.validation_percentage, split.testing_percentage, split.by, split.root
    )
    if split.near_duplicates == "report":
        return assigned
    with TemporaryDirectory(prefix="linnaeus-duplicates-") as scratch:
        digests = used["sha256"].to_pylist()
        matrix = read_matrix(workspace, fingerprint, digests, Path(scratch) / "matrix.f32")
        return near_duplicates.together(assigned, used["split"], near_duplicates.groups(matrix))


def refuse_unusable(judged: pa.Table, manifest: Manifest, backbone: ModelBackbone) -> None:
    """Raises ConfigurationError unless there are two labels or more, and images for all of them."""
    fates = _fates_by_label(judged)
    if not fates:
        raise ConfigurationError(
            f"no image of {manifest.source} has a label: put the images of each label into a "
            "folder of its name, or list them in a CSV file with the columns uri,label"
        )
    if all(set(counts) == {"not embedded"} for counts in fates.values()):
        raise ConfigurationError(
            f"none of the {len(judged):,} images of {manifest.source} has an embedding: run "
            f"`{embed_command(manifest, backbone)}` first"
        )
    if len(fates) == 1:
        raise ConfigurationError(
            f"all images of {manifest.source} have the label {next(iter(fates))!r}: "
            "a model needs two labels or more to tell apart"
        )
    for label, counts in sorted(fates.items()):
        if "used" not in counts:
            reasons = ", ".join(f"{count} {fate}" for fate, count in sorted(counts.items()))
            raise ConfigurationError(
                f"label {label!r} of {manifest.source} has no usable image ({reasons}): "
                f"run `{embed_command(manifest, backbone)}`, add images to it, or leave it out"
            )


def embed_command(manifest: Manifest, backbone: ModelBackbone) -> str:
    """What to type so that a manifest's images have embeddings of a backbone."""
    images, name = shlex.quote(manifest.source), shlex.quote(backbone.name)
    precision = "" if backbone.precision == "float32" else f" --precision {backbone.precision}"
    return f"linnaeus embed {images} --backbone {name}{precision}"


def refuse_empty(
    used: pa.Table, assigned: pa.Array, manifest: Manifest, labels: tuple[str, ...]
) -> None:
    """Raises ConfigurationError if a split is empty or a label has no image to train on."""
    for name in SPLITS:
        if not pc.any(pc.equal(assigned, name)).as_py():
            raise ConfigurationError(
                f"no image of the {len(used)} usable ones of {manifest.source} falls into the "
                f"{name} split: add images, raise the split's percentage, "
                "or give a manifest with a `split` column"
            )
    _refuse_weightless(used, assigned, manifest)
    trained = used.filter(pc.and_(pc.equal(assigned, "train"), _weighs(used)))["truth"]
    for label in sorted(set(labels) - set(pc.list_flatten(trained).to_pylist())):
        raise ConfigurationError(
            f"label {label!r} of {manifest.source} has no image to train on, "
            f"{_why_none(used, label)}: add images to it, leave it out, "
            "or give a manifest with a `split` column"
        )


def _refuse_weightless(used: pa.Table, assigned: pa.Array, manifest: Manifest) -> None:
    for name in ("train", "validation"):
        if not pc.any(pc.and_(pc.equal(assigned, name), _weighs(used))).as_py():
            raise ConfigurationError(
                f"all images of {manifest.source} in the {name} split have the weight 0: "
                "give some of them another one"
            )


def _weighs(used: pa.Table) -> pa.ChunkedArray:
    """Which images count for anything in training."""
    return pc.greater(pc.fill_null(used["weight"], 1.0), 0.0)


def _why_none(used: pa.Table, label: str) -> str:
    if label not in set(pc.list_flatten(used["truth"]).to_pylist()):
        return "none has it"
    return "all are held out or of weight 0"


def _fates_by_label(judged: pa.Table) -> dict[str, dict[str, int]]:
    """`{label: {fate: images}}`"""
    labels, rows = _flat(judged["truth"])
    each = pa.table({"label": labels, "fate": judged["fate"].take(rows)})
    counts: dict[str, dict[str, int]] = {}
    for row in each.group_by(["label", "fate"]).aggregate([([], "count_all")]).to_pylist():
        counts.setdefault(row["label"], {})[row["fate"]] = row["count_all"]
    return counts


def _flat(truth: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """All labels one after the other, and the row that each is of."""
    lists = truth.combine_chunks()
    return pc.list_flatten(lists), pc.list_parent_indices(lists)


def _labelled(
    matrix: NDArray[np.float32],
    used: pa.Table,
    assigned: pa.Array,
    labels: tuple[str, ...],
    left_out: dict[str, int],
) -> LabelledEmbeddings:
    """Puts together what is in the order of the splits already."""
    weights = pc.fill_null(used["weight"], 1.0).to_numpy().astype(np.float32)
    sizes = [pc.sum(pc.equal(assigned, name)).as_py() for name in SPLITS]
    ends = np.cumsum(sizes).tolist()
    multi = is_multi(used)
    return LabelledEmbeddings(
        rows=Examples(matrix, (presence if multi else positions)(used["truth"], labels), weights),
        uris=used["uri"].combine_chunks(),
        digests=used["sha256"].combine_chunks(),
        labels=labels,
        slices={
            name: slice(end - size, end)
            for name, size, end in zip(SPLITS, sizes, ends, strict=True)
        },
        left_out=left_out,
        task="multi" if multi else "single",
    )


def positions(truth: pa.ChunkedArray, labels: tuple[str, ...]) -> NDArray[np.int64]:
    """Where each row's only label is among `labels`, [n]."""
    found = pc.index_in(_flat(truth)[0], pa.array(labels, pa.string()))
    ids: NDArray[np.int64] = found.to_numpy(zero_copy_only=False).astype(np.int64)
    return ids


def presence(truth: pa.ChunkedArray, labels: tuple[str, ...]) -> NDArray[np.uint8]:
    """Which of `labels` each row has, 0 or 1, [n, C]."""
    there = np.zeros((len(truth), len(labels)), np.uint8)
    there[_flat(truth)[1].to_numpy(), positions(truth, labels)] = 1
    return there
