"""Brings a manifest's labelled images and their stored embeddings together, split by split."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnaeus import manifests
from linnaeus.manifests import Manifest, splits
from linnaeus.models import ModelBackbone
from linnaeus.planning import known_objects
from linnaeus.storage import Folder
from linnaeus.tables import query, read_matrix, stored
from linnaeus.training.config import SplitConfig
from linnaeus.training.data import near_duplicates
from linnaeus.training.data.examples import SPLITS, Examples, LabelledEmbeddings
from linnaeus.training.data.refusals import refuse_empty, refuse_unusable
from linnaeus.training.data.truth import is_multi, positions, presence, selected_labels

# Equal content is used once. Where one copy is marked for the test, that one is, so that nothing
# that is trained on is tested.
_FATES = """
WITH labelled AS (
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
FROM labelled ORDER BY uri
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
    fates = image_fates(workspace, manifest, backbone.fingerprint)
    refuse_unusable(fates, manifest, backbone)
    used = usable(fates)
    labels = selected_labels(used, selection.labels)
    assigned = assign(workspace, used, selection.split, backbone.fingerprint)
    refuse_empty(used, assigned, manifest, labels)
    order = np.argsort(pc.index_in(assigned, pa.array(SPLITS)), kind="stable")
    used, assigned = used.take(order), assigned.take(order)
    matrix = read_matrix(workspace, backbone.fingerprint, used["sha256"].to_pylist(), to)
    return _labelled(matrix, used, assigned, labels, left_out(fates))


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


def image_fates(workspace: Folder, manifest: Manifest, fingerprint: str) -> pa.Table:
    """The manifest's rows with `sha256`, `code`, `truth` (its labels) and `fate`.

    The fate is `used`, or why an image cannot be.
    """
    known = known_objects(workspace, manifests.load(workspace, manifest.id), fingerprint)
    return query(_FATES, {"known": known})


def usable(fates: pa.Table) -> pa.Table:
    """The rows that can be used, by URI."""
    return fates.filter(pc.equal(fates["fate"], "used"))


def left_out(fates: pa.Table) -> dict[str, int]:
    """Images that cannot be used, counted by reason."""
    counts = fates["fate"].value_counts().to_pylist()
    return {one["values"]: one["counts"] for one in counts if one["values"] != "used"}


def assign(workspace: Folder, used: pa.Table, split: SplitConfig, fingerprint: str) -> pa.Array:
    """The split of each row, string [n]."""
    labels = {"label": pa.nulls(len(used), pa.string()), "labels": used["truth"]}
    labelled = pa.table({name: used[name] for name in ("source", "uri", "split")} | labels)
    assigned = splits.assign(
        labelled, split.validation_percentage, split.testing_percentage, split.by, split.root
    )
    if split.near_duplicates == "report":
        return assigned
    with TemporaryDirectory(prefix="linnaeus-duplicates-") as scratch:
        digests = used["sha256"].to_pylist()
        matrix = read_matrix(workspace, fingerprint, digests, Path(scratch) / "matrix.f32")
        return near_duplicates.together(assigned, used["split"], near_duplicates.groups(matrix))


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
