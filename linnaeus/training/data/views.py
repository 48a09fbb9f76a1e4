"""Varied views of the training images: embedded once, then trained on beside the plain ones."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from linnaeus.backbones import BackboneSpec
from linnaeus.jobs import RunSummary
from linnaeus.manifests import Manifest
from linnaeus.progress import SILENT, Progress
from linnaeus.storage import Folder
from linnaeus.tables import memory_map, read_into, stored
from linnaeus.training.data.embedding import embed_missing
from linnaeus.training.data.examples import Examples, LabelledEmbeddings


def embed_views(
    workspace: Folder,
    manifest: Manifest,
    data: LabelledEmbeddings,
    views: Sequence[BackboneSpec],
    progress: Progress = SILENT,
) -> list[RunSummary]:
    """Embed the training images of `data`, and no others, by each view; what is stored is kept.

    Raises:
        StorageError: If the workspace cannot be read or written.
        ReconciliationError: If the counts do not add up.
    """
    only = frozenset(data.uris[data.slices["train"]].to_pylist())
    return [embed_missing(workspace, manifest, view, progress, only) for view in views]


def with_views(
    data: LabelledEmbeddings, workspace: Folder, views: Sequence[BackboneSpec], to: Path
) -> LabelledEmbeddings:
    """The same images, those for training also as the views see them; the matrix is in file `to`.

    The training rows are the plain ones, then those of each view. All rows of an image share its
    weight. An image that a view could not read, perhaps deleted since, has no row of it.
    """
    images = data.counts["train"]
    trained = data.digests[:images]
    seen = [np.flatnonzero(stored(workspace, view.fingerprint, trained)) for view in views]
    matrix = memory_map((len(data.rows) + sum(map(len, seen)), data.rows.embeddings.shape[1]), to)
    matrix[:images] = data.rows.embeddings[:images]
    end = images
    for view, rows in zip(views, seen, strict=True):
        start, end = end, end + len(rows)
        read_into(matrix[start:end], workspace, view.fingerprint, trained.take(rows).to_pylist())
    matrix[end:] = data.rows.embeddings[images:]
    source = np.concatenate([np.arange(images), *seen, np.arange(images, len(data.rows))])
    return _grown(data, matrix, source, end - images)


def _grown(
    data: LabelledEmbeddings,
    matrix: NDArray[np.float32],
    source: NDArray[np.int64],
    added: int,
) -> LabelledEmbeddings:
    """The matrix with labels and weights; `source` says which image each of its rows is of."""
    shares = np.bincount(source)[source].astype(np.float32)
    rows = Examples(matrix, data.rows.targets[source], data.rows.weights[source] / shares)
    slices = {name: slice(s.start + added, s.stop + added) for name, s in data.slices.items()}
    slices["train"] = slice(0, data.counts["train"] + added)
    uris, digests = data.uris.take(pa.array(source)), data.digests.take(pa.array(source))
    return replace(data, rows=rows, uris=uris, digests=digests, slices=slices)
