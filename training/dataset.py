"""Brings a manifest's labelled images and their stored embeddings together, split by split."""

import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnaeus import manifests, splits
from linnaeus.database import query
from linnaeus.errors import ConfigurationError
from linnaeus.manifests import Manifest
from linnaeus.matrix import read_matrix
from linnaeus.models import ModelBackbone
from linnaeus.state import known_objects
from linnaeus.storage import Folder
from training.config import SplitConfig
from training.examples import SPLITS, Examples, LabelledEmbeddings

# Equal content is used once. Where one copy is marked for the test, that one is, so that nothing
# that is trained on is tested.
_FATES = """
SELECT *, CASE
    WHEN label IS NULL THEN 'unlabelled'
    WHEN sha256 IS NULL AND code IS NULL THEN 'not embedded'
    WHEN sha256 IS NULL THEN 'failed'
    WHEN min(label) OVER (PARTITION BY sha256) <> max(label) OVER (PARTITION BY sha256)
        THEN 'of two labels'
    WHEN row_number() OVER (
        PARTITION BY sha256, label ORDER BY split IS DISTINCT FROM 'test', uri) > 1
        THEN 'duplicate'
    ELSE 'used' END AS fate
FROM known ORDER BY uri
"""


def load(
    workspace: Folder,
    manifest: Manifest,
    backbone: ModelBackbone,
    split: SplitConfig,
    to: Path | None = None,
) -> LabelledEmbeddings:
    """Reads the vectors of a manifest's labelled images into a matrix (in the file `to`).

    Raises:
        ConfigurationError: If there are no labels, no embeddings, a label without usable or
            training images, fewer than two labels, or an empty split.
    """
    judged = judge(workspace, manifest, backbone.fingerprint)
    refuse_unusable(judged, manifest, backbone)
    used = usable(judged)
    assigned = assign(used, split)
    refuse_empty(used, assigned, manifest)
    order = np.argsort(pc.index_in(assigned, pa.array(SPLITS)), kind="stable")
    used, assigned = used.take(order), assigned.take(order)
    matrix = read_matrix(workspace, backbone.fingerprint, used["sha256"].to_pylist(), to)
    return _labelled(matrix, used, assigned, left_out(judged))


def judge(workspace: Folder, manifest: Manifest, fingerprint: str) -> pa.Table:
    """The manifest's rows with `sha256`, `code` and their `fate`: `used`, or why they cannot be."""
    known = known_objects(workspace, manifests.load(workspace, manifest.id), fingerprint)
    return query(_FATES, {"known": known})


def usable(judged: pa.Table) -> pa.Table:
    """The rows that can be used, by URI."""
    return judged.filter(pc.equal(judged["fate"], "used"))


def left_out(judged: pa.Table) -> dict[str, int]:
    """Images that cannot be used, counted by reason."""
    fates = judged["fate"].value_counts().to_pylist()
    return {fate["values"]: fate["counts"] for fate in fates if fate["values"] != "used"}


def assign(used: pa.Table, split: SplitConfig) -> pa.Array:
    """The split of each row, string [n]."""
    return splits.assign(used, split.validation_percentage, split.testing_percentage, by=split.by)


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


def refuse_empty(used: pa.Table, assigned: pa.Array, manifest: Manifest) -> None:
    """Raises ConfigurationError if a split is empty or a label has no image to train on."""
    for name in SPLITS:
        if not pc.any(pc.equal(assigned, name)).as_py():
            raise ConfigurationError(
                f"no image of the {len(used)} usable ones of {manifest.source} falls into the "
                f"{name} split: add images, raise the split's percentage, "
                "or give a manifest with a `split` column"
            )
    trained = set(used.filter(pc.equal(assigned, "train"))["label"].to_pylist())
    for label in sorted(set(used["label"].to_pylist()) - trained):
        raise ConfigurationError(
            f"label {label!r} of {manifest.source} has no image to train on, all are held out: "
            "add images to it, leave it out, or give a manifest with a `split` column"
        )


def _fates_by_label(judged: pa.Table) -> dict[str, dict[str, int]]:
    """`{label: {fate: images}}`"""
    labelled = judged.filter(pc.is_valid(judged["label"]))
    counts: dict[str, dict[str, int]] = {}
    for row in labelled.group_by(["label", "fate"]).aggregate([([], "count_all")]).to_pylist():
        counts.setdefault(row["label"], {})[row["fate"]] = row["count_all"]
    return counts


def _labelled(
    matrix: NDArray[np.float32], used: pa.Table, assigned: pa.Array, left_out: dict[str, int]
) -> LabelledEmbeddings:
    """Puts together what is in the order of the splits already."""
    labels = tuple(sorted(set(used["label"].to_pylist())))
    label_ids = pc.index_in(used["label"], pa.array(labels)).to_numpy().astype(np.int64)
    weights = pc.fill_null(used["weight"], 1.0).to_numpy().astype(np.float32)
    sizes = [pc.sum(pc.equal(assigned, name)).as_py() for name in SPLITS]
    ends = np.cumsum(sizes).tolist()
    return LabelledEmbeddings(
        rows=Examples(matrix, label_ids, weights),
        uris=used["uri"].combine_chunks(),
        digests=used["sha256"].combine_chunks(),
        labels=labels,
        slices={
            name: slice(end - size, end)
            for name, size, end in zip(SPLITS, sizes, ends, strict=True)
        },
        left_out=left_out,
    )
