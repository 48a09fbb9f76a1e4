"""Refuses images of which nothing can be learned, and says what would help."""

import shlex
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from linnaeus.errors import ConfigurationError
from linnaeus.manifests import Manifest
from linnaeus.models import ModelBackbone
from linnaeus.progress import names_text
from linnaeus.training.data.examples import SPLITS, LabelledEmbeddings
from linnaeus.training.data.truth import flat
from linnaeus.training.heads.head import Matrix, read_blocks


def refuse_unusable(fates: pa.Table, manifest: Manifest, backbone: ModelBackbone) -> None:
    """Raises ConfigurationError unless there are two labels or more, and images for all of them."""
    by_label = _fates_by_label(fates)
    if not by_label:
        raise ConfigurationError(
            f"no image of {manifest.source} has a label: put the images of each label into a "
            "folder of its name, or list them in a CSV file with the columns uri,label"
        )
    if all(set(counts) == {"not embedded"} for counts in by_label.values()):
        raise ConfigurationError(
            f"none of the {len(fates):,} images of {manifest.source} has an embedding: run "
            f"`{embed_command(manifest, backbone)}` first"
        )
    if len(by_label) == 1:
        raise ConfigurationError(
            f"the only label of {manifest.source} is {next(iter(by_label))!r}: "
            "a model needs two or more to tell apart"
        )
    if useless := sorted(label for label, counts in by_label.items() if "used" not in counts):
        total = sum((Counter(by_label[label]) for label in useless), Counter())
        reasons = ", ".join(f"{count} {fate}" for fate, count in sorted(total.items()))
        raise ConfigurationError(
            f"{manifest.source} has no usable image ({reasons}) of {names_text(useless)}: "
            f"run `{embed_command(manifest, backbone)}`, add images of each, or leave it out"
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
    if lacking := sorted(set(labels) - set(pc.list_flatten(trained).to_pylist())):
        raise ConfigurationError(
            f"{manifest.source} has no image to train on of {names_text(lacking)}, "
            f"{_why_none(used, lacking)}: add images of each, leave it out, "
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


def _why_none(used: pa.Table, labels: Sequence[str]) -> str:
    if set(labels).isdisjoint(pc.list_flatten(used["truth"]).to_pylist()):
        return "none has it"
    return "all are held out or of weight 0"


def _fates_by_label(fates: pa.Table) -> dict[str, dict[str, int]]:
    """`{label: {fate: images}}`"""
    labels, rows = flat(fates["truth"])
    each = pa.table({"label": labels, "fate": fates["fate"].take(rows)})
    counts: dict[str, dict[str, int]] = {}
    for row in each.group_by(["label", "fate"]).aggregate([([], "count_all")]).to_pylist():
        counts.setdefault(row["label"], {})[row["fate"]] = row["count_all"]
    return counts


def refuse_not_finite(data: LabelledEmbeddings) -> None:
    """Raises ConfigurationError, which names the first image, if an embedding is not finite."""
    for rows, block in read_blocks(data.rows.embeddings):
        # A sum is a cheap test: it is finite only if all of its terms are.
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(block.sum())
        if suspicious:
            _refuse(data.uris[rows], block)


def _refuse(uris: pa.Array, block: Matrix) -> None:
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if len(bad):
        raise ConfigurationError(
            f"the embedding of {uris[int(bad[0])].as_py()} has a value that is not a finite "
            "number: leave the image out of the manifest, or train with another backbone or "
            "precision"
        )
