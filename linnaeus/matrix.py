"""Stored vectors as one memory-mapped matrix, read a part at a time.

Only digests and places are joined; nothing groups or sorts vectors, which would take minutes and
tens of gigabytes for a million of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnaeus.database import query
from linnaeus.embeddings import EmbeddingTable
from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder

_FIRST_PLACES = """
WITH first AS (
    SELECT sha256, min_by(part, (part, "row")) AS part, min_by("row", (part, "row")) AS "row"
    FROM stored SEMI JOIN wanted USING (sha256) GROUP BY sha256
)
SELECT part, "row", target FROM wanted JOIN first USING (sha256) ORDER BY part, "row"
"""


class Place(NamedTuple):
    """Rows `rows` of `part` belong at `targets` of a matrix."""

    part: str
    rows: NDArray[np.int64]
    targets: NDArray[np.int64]


def places(table: EmbeddingTable, digests: Sequence[str]) -> list[Place]:
    """Where the vectors of `digests` lie, part by part.

    Raises:
        ConfigurationError: some content has no stored vector.
    """
    wanted = pa.table({"sha256": pa.array(digests, pa.string()), "target": np.arange(len(digests))})
    found = query(_FIRST_PLACES, {"wanted": wanted, "stored": table.locations()})
    if found.num_rows < len(digests):
        raise ConfigurationError(
            f"{len(digests) - found.num_rows} of {len(digests)} images have no embedding under "
            f"backbone {table.fingerprint}; run `linnaeus embed` on them first"
        )
    return list(_by_part(found))


def _by_part(found: pa.Table) -> Iterator[Place]:
    parts = found.column("part").combine_chunks().dictionary_encode()
    indices = np.asarray(parts.indices)
    rows, targets = np.asarray(found.column("row")), np.asarray(found.column("target"))
    starts = np.flatnonzero(np.diff(indices, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(indices)], strict=True):
        yield Place(parts.dictionary[indices[start]].as_py(), rows[start:end], targets[start:end])


def read_matrix(
    workspace: Folder, fingerprint: str, digests: Sequence[str], to: Path | None = None
) -> NDArray[np.float32]:
    """Stored vectors in the order of `digests`: a memory-mapped float32 matrix [n, D].

    One part is in memory at a time; the matrix lies in the file `to`, or in a nameless temporary
    file that ends with the process.

    Raises:
        ConfigurationError: some content has no stored vector.
    """
    table = EmbeddingTable(workspace, fingerprint)
    located = places(table, digests)
    if not located:
        return np.empty((0, 0), np.float32)
    matrix: NDArray[np.float32] | None = None
    for place in located:
        vectors = table.vectors(place.part)
        if matrix is None:
            matrix = memory_map((len(digests), vectors.shape[1]), to)
        matrix[place.targets] = vectors[place.rows]
    assert matrix is not None
    return matrix


def read_into(
    matrix: NDArray[np.float32], workspace: Folder, fingerprint: str, digests: Sequence[str]
) -> None:
    """Write stored vectors, in the order of `digests`, over a float32 matrix [n, D].

    Raises:
        ConfigurationError: some content has no stored vector.
    """
    table = EmbeddingTable(workspace, fingerprint)
    for place in places(table, digests):
        matrix[place.targets] = table.vectors(place.part)[place.rows]


def stored(workspace: Folder, fingerprint: str, digests: pa.Array) -> NDArray[np.bool_]:
    """Which of some contents have a stored vector: bool [n]."""
    locations = EmbeddingTable(workspace, fingerprint).locations().read_all()
    return np.asarray(pc.is_in(digests, locations["sha256"].combine_chunks()))


def memory_map(shape: tuple[int, int], to: Path | None) -> NDArray[np.float32]:
    """A float32 matrix of zeros in the file `to`, or in a nameless one."""
    with to.open("w+b") if to else TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=shape)
