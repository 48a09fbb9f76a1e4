"""Labelled embeddings: what a head is fitted on, chosen with and evaluated by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
    targets: NDArray[Any]
    """single: int64 [n], positions in the labels; multi: uint8 [n, C], 1 where a label is"""
    weights: NDArray[np.float32]
    """[n], at least 0"""

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class LabelledEmbeddings:
    """All usable rows of a manifest, ordered by split; each split is one slice of them."""

    rows: Examples
    uris: pa.Array
    digests: pa.Array
    """SHA-256 of each row's content, string [n]"""
    labels: tuple[str, ...]
    """`targets` are positions here."""
    slices: Mapping[str, slice]
    """Of the rows, by split."""
    left_out: Mapping[str, int]
    """Images that could not be used, counted by reason."""
    task: Literal["single", "multi"] = "single"

    def examples(self, *names: str) -> Examples:
        """The rows of adjacent splits, as views."""
        rows = slice(self.slices[names[0]].start, self.slices[names[-1]].stop)
        all_rows = self.rows
        return Examples(all_rows.embeddings[rows], all_rows.targets[rows], all_rows.weights[rows])

    @property
    def counts(self) -> dict[str, int]:
        """Images in each split."""
        return {name: rows.stop - rows.start for name, rows in self.slices.items()}
