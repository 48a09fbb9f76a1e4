"""Refuses embeddings that no head can be fitted to."""

import numpy as np
import pyarrow as pa

from linnaeus.errors import ConfigurationError
from training.data.examples import LabelledEmbeddings
from training.heads.head import Matrix, read_blocks


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
