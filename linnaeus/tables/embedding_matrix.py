"""Stored vectors as one memory-mapped matrix, read a part at a time.

Only digests and places are joined; nothing groups or sorts vectors, which would take minutes and
tens of gigabytes for a million of them.
"""

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import DTypeLike, NDArray

from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder
from linnaeus.tables.database import query
from linnaeus.tables.embeddings import EmbeddingTable

RELEASE_BYTES = 256 << 20

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
    size = table.vectors(located[0].part, [0]).shape[1]
    matrix = memory_map((len(digests), size), to)
    _fill(matrix, table, located)
    return matrix


def read_into(
    matrix: NDArray[np.float32], workspace: Folder, fingerprint: str, digests: Sequence[str]
) -> None:
    """Write stored vectors, in the order of `digests`, over a float32 matrix [n, D].

    Raises:
        ConfigurationError: some content has no stored vector.
    """
    table = EmbeddingTable(workspace, fingerprint)
    _fill(matrix, table, places(table, digests))


def _fill(matrix: NDArray[np.float32], table: EmbeddingTable, located: Sequence[Place]) -> None:
    """Copy rows of parts; what is written leaves this process's memory now and then."""
    written_bytes = 0
    for place in located:
        vectors = table.vectors(place.part, place.rows)
        matrix[place.targets] = vectors
        written_bytes += vectors.nbytes
        if written_bytes > RELEASE_BYTES:
            release(matrix)
            written_bytes = 0


def stored(workspace: Folder, fingerprint: str, digests: pa.Array) -> NDArray[np.bool_]:
    """Which of some contents have a stored vector: bool [n]."""
    locations = EmbeddingTable(workspace, fingerprint).locations().read_all()
    return np.asarray(pc.is_in(digests, locations["sha256"].combine_chunks()))


def memory_map(
    shape: tuple[int, ...], to: Path | None = None, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """An array of zeros in the file `to`, or in a nameless one, which has its room at once.

    A disk that is full only when a page is written would kill the process.
    """
    with to.open("w+b") if to else TemporaryFile() as file:
        mapped = np.memmap(file, dtype, "w+", shape=shape)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, max(mapped.nbytes, 1))
        return mapped


def release(block: NDArray[Any]) -> None:
    """Let the pages of a file-mapped array, or of rows of one, leave this process's memory.

    The operating system still has them, or reads them again; so a matrix that is larger than
    memory does not fill it. Other arrays stay as they are.
    """
    mapping: Any = block
    while isinstance(mapping, np.ndarray):
        mapping = mapping.base
    if not isinstance(mapping, mmap.mmap) or not block.size or getattr(block, "mode", "c") == "c":
        return  # the pages of a copy-on-write mapping may be all there is of a change
    start = block.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data
    page = start // mmap.PAGESIZE * mmap.PAGESIZE
    mapping.madvise(mmap.MADV_DONTNEED, page, start + block.nbytes - page)
