"""Labelled embeddings: what a head is fitted on, chosen with and judged by."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")
"""In the order in which rows lie."""


@dataclass(frozen=True)
class Examples:
    """Some rows with their labels and weights."""

    embeddings: NDArray[np.float32]
    """[n, D], perhaps memory-mapped"""
    label_ids: NDArray[np.int64]
    """[n], positions in the sorted labels"""
    weights: NDArray[np.float32]
    """[n], at least 0"""

    def __len__(self) -> int:
        return len(self.label_ids)


@dataclass(frozen=True)
class LabelledEmbeddings:
    """All usable rows of a manifest, ordered by split; each split is one slice of them."""

    rows: Examples
    uris: pa.Array
    labels: tuple[str, ...]
    """Sorted by code point; `label_ids` are positions here."""
    slices: Mapping[str, slice]
    """Of the rows, by split."""
    left_out: Mapping[str, int]
    """Images that could not be used, counted by reason."""

    def examples(self, *names: str) -> Examples:
        """The rows of adjacent splits, as views."""
        rows = slice(self.slices[names[0]].start, self.slices[names[-1]].stop)
        all_rows = self.rows
        return Examples(all_rows.embeddings[rows], all_rows.label_ids[rows], all_rows.weights[rows])

    @property
    def counts(self) -> dict[str, int]:
        """Images in each split."""
        return {name: rows.stop - rows.start for name, rows in self.slices.items()}
