"""Pictures that are nearly equal by their embeddings: both held out and trained on, they flatter.

Similarity is the cosine of standardised embeddings. Measured with EfficientNet-Lite0: a photograph
saved again at half its size or at low quality keeps 0.8 to 0.99, others of a collection 0.4 to 0.6.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.heads.head import Matrix, Standardisation, blocks, read_blocks

SIMILARITY = 0.93
PROJECTED_VALUES = 128
"""Longer embeddings are projected at random to this many; cosines stay within about 0.02."""
COMPARISONS = 10**9
"""Of pairs, when held-out pictures are looked at: some seconds. More are sampled."""
BLOCK_ROWS = 4096
SHOWN = 20


@dataclass(frozen=True)
class Pair:
    """A held-out picture and the most similar one of another split."""

    held_out: str
    split: str
    other: str
    other_split: str
    similarity: float


@dataclass(frozen=True)
class Straddling:
    """Held-out pictures that have a near duplicate in another split."""

    found: int
    looked_at: int
    """Held-out pictures that were compared with all of the others."""
    pairs: tuple[Pair, ...]
    """At most `SHOWN`, the most similar first."""


def straddling(data: LabelledEmbeddings, similarity: float = SIMILARITY) -> Straddling:
    """Which test and validation pictures nearly equal one of an earlier split.

    Where there are too many to compare, an evenly spaced sample of the held-out ones is looked at.
    """
    directions = _directions(data.rows.embeddings)
    found: list[tuple[float, int, int]] = []
    looked_at = 0
    for split in ("validation", "test"):
        rows = data.slices[split]
        sample = _sample(rows, len(directions))
        looked_at += len(sample)
        found += _nearest(directions, sample, rows.start, similarity)
    found.sort(reverse=True)
    pairs = tuple(_pair(data, *one) for one in found[:SHOWN])
    return Straddling(len(found), looked_at, pairs)


def groups(embeddings: Matrix, similarity: float = SIMILARITY) -> NDArray[np.int32]:
    """A number for each row, [n], equal for rows that near duplicates link, over any others."""
    directions = _directions(embeddings)
    numbers = np.arange(len(directions), dtype=np.int32)
    for rows in blocks(len(directions), BLOCK_ROWS):
        for i, j in _links(directions, rows, similarity):
            numbers = _merged(numbers, i, j)
    return numbers


def together(assigned: pa.Array, given: pa.Array, numbers: NDArray[np.int32]) -> pa.Array:
    """Splits, string [n], with each group in one: that of its first row whose split is given.

    Rows whose split the manifest gives (`given`, null elsewhere) keep it; a group without any goes
    where its first row is.
    """
    splits, fixed = assigned.to_pylist(), given.to_pylist()
    leader: dict[int, str] = {}
    for wanted in (fixed, splits):
        for number, split in zip(numbers.tolist(), wanted, strict=True):
            if split is not None:
                leader.setdefault(number, split)
    return pa.array(
        [own or leader[number] for own, number in zip(fixed, numbers.tolist(), strict=True)],
        pa.string(),
    )


def _directions(embeddings: Matrix) -> Matrix:
    """Unit vectors of the standardised rows, [n, min(D, 128)]."""
    rows, values = embeddings.shape
    scale = Standardisation.of(embeddings, np.ones(rows, np.float32))
    projection = None
    if values > PROJECTED_VALUES:
        projection = np.random.default_rng(0).normal(size=(values, PROJECTED_VALUES))
        projection = projection.astype(np.float32)
    directions = np.empty((rows, min(values, PROJECTED_VALUES)), np.float32)
    for block, plain in read_blocks(embeddings):
        standardised = scale.apply(plain)
        x = standardised if projection is None else standardised @ projection
        lengths = np.linalg.norm(x, axis=1, keepdims=True)
        directions[block] = x / np.maximum(lengths, np.finfo(np.float32).tiny)
    return directions


def _sample(rows: slice, others: int) -> NDArray[np.intp]:
    """Rows to look at, evenly spaced where there are too many."""
    available = rows.stop - rows.start
    wanted = min(available, max(1, COMPARISONS // max(others, 1)))
    return np.unique(np.linspace(rows.start, rows.stop - 1, wanted).astype(np.intp))


def _nearest(
    directions: Matrix, sample: NDArray[np.intp], end: int, similarity: float
) -> Iterator[tuple[float, int, int]]:
    """(similarity, row, other) of each sampled row whose nearest one before `end` is similar."""
    for part in np.array_split(sample, len(sample) // BLOCK_ROWS + 1):
        best = np.full(len(part), -1.0, np.float32)
        other = np.zeros(len(part), np.intp)
        for rows in blocks(end, BLOCK_ROWS):
            cosines = directions[part] @ directions[rows].T
            nearest = cosines.argmax(axis=1)
            values = cosines[np.arange(len(part)), nearest]
            better = values > best
            best[better], other[better] = values[better], nearest[better] + rows.start
        for place in np.flatnonzero(best >= similarity):
            yield float(best[place]), int(part[place]), int(other[place])


def _links(
    directions: Matrix, rows: slice, similarity: float
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Similar pairs (i, j) of a row in `rows` with any row up to its block's end."""
    for others in blocks(rows.stop, BLOCK_ROWS):
        i, j = np.nonzero(directions[rows] @ directions[others].T >= similarity)
        yield i + rows.start, j + others.start


def _merged(
    numbers: NDArray[np.int32], i: NDArray[np.intp], j: NDArray[np.intp]
) -> NDArray[np.int32]:
    """The groups once rows `i` and rows `j` are linked, one to one."""
    edges = coo_array((np.ones(len(i), bool), (numbers[i], numbers[j])), (len(numbers),) * 2)
    merged: NDArray[np.int32] = connected_components(edges, directed=False)[1]
    return merged[numbers]


def _pair(data: LabelledEmbeddings, similarity: float, row: int, other: int) -> Pair:
    return Pair(
        data.uris[row].as_py(),
        _split_of(data, row),
        data.uris[other].as_py(),
        _split_of(data, other),
        round(similarity, 4),
    )


def _split_of(data: LabelledEmbeddings, row: int) -> str:
    return next(name for name, rows in data.slices.items() if rows.start <= row < rows.stop)
