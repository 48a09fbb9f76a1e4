"""Moments of stored embeddings of some contents: sampled where they are many, in little memory.

A sample is of whole blocks of neighbours in few places: contents picked one by one would lie in
nearly every row group of a large table, and all of it would have to be read.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
from duckdb import DuckDBPyConnection
from numpy.typing import NDArray

from linnaeus.planning import STORED_SHARD_OBJECTS
from linnaeus.storage import Folder
from linnaeus.tables import EmbeddingTable, Places, database, stored_vectors
from linnaeus.workflow.drift.measures import Moments, moments

SAMPLE = 10_000
"""Contents at most; their drift by chance is 0.02."""
BLOCKS = 32
"""So many blocks at least share a sample, where there are as many."""
_BLOCK_ROWS = STORED_SHARD_OBJECTS
"""A row group of a merged part."""
_SEED = "drift"
_STACKED = 1_024

_LOCATED = """
CREATE TEMP TABLE located AS
SELECT sha256, min(part << 32 | "row") AS place
FROM stored SEMI JOIN wanted USING (sha256) GROUP BY sha256
"""
_BLOCKS = f"SELECT place // {_BLOCK_ROWS} AS block, count(*) FROM located GROUP BY block"
_ROWS = f"""
SELECT sha256, place FROM located WHERE place // {_BLOCK_ROWS} IN (SELECT unnest($blocks::BIGINT[]))
"""


def stored_moments(
    workspace: Folder, fingerprint: str, contents: pa.Table | pa.RecordBatchReader
) -> Moments:
    """Moments of the vectors of contents, or of a sample of them that does not change.

    Args:
        workspace: where the vectors are.
        fingerprint: the backbone's.
        contents: has the column `sha256`; what is not stored is left out.

    Raises:
        StorageError: the table cannot be read.
    """
    places = sampled_places(EmbeddingTable(workspace, fingerprint), contents)
    vectors = (vector for _, vector in stored_vectors(workspace, fingerprint, places))
    return moments(_stacked(vectors))


def sampled_places(
    table: EmbeddingTable, contents: pa.Table | pa.RecordBatchReader, size: int = SAMPLE
) -> Places:
    """Where the vectors of contents lie, each once: of all of them, or of a sample."""
    with database({"wanted": contents, "stored": table.places()}) as connection:
        connection.execute(_LOCATED)
        counts = dict(connection.execute(_BLOCKS).fetchall())
        most = _shares(counts, table.parts, size)
        return _picked(connection, most, table.parts)


def _shares(counts: Mapping[int, int], parts: Sequence[str], size: int) -> dict[int, int]:
    """By block, how many of its contents are looked at; few blocks have any in a large table."""
    if sum(counts.values()) <= size:
        return dict(counts)
    ceiling = math.ceil(size / min(BLOCKS, len(counts)))
    while sum(min(count, ceiling) for count in counts.values()) < size:
        ceiling *= 2
    shares: dict[int, int] = {}
    left = size
    for block in sorted(counts, key=lambda block: _order(_name(block * _BLOCK_ROWS, parts))):
        shares[block] = min(counts[block], ceiling, left)
        left -= shares[block]
        if not left:
            break
    return shares


def _picked(
    connection: DuckDBPyConnection, most: Mapping[int, int], parts: Sequence[str]
) -> dict[str, dict[str, int]]:
    by_block: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for digest, place in connection.execute(_ROWS, {"blocks": list(most)}).fetchall():
        by_block[place // _BLOCK_ROWS].append((digest, place))
    picked: dict[str, dict[str, int]] = {}
    for block, rows in sorted(by_block.items()):
        for digest, place in sorted(rows, key=lambda row: _order(row[0]))[: most[block]]:
            picked.setdefault(parts[place >> 32], {})[digest] = place & 0xFFFFFFFF
    return picked


def _name(place: int, parts: Sequence[str]) -> str:
    """Of a block, by its first row: a part's number changes when others come."""
    return f"{parts[place >> 32]} {place & 0xFFFFFFFF}"


def _order(name: str) -> str:
    return hashlib.md5(f"{_SEED} {name}".encode(), usedforsecurity=False).hexdigest()


def _stacked(vectors: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    while block := list(islice(vectors, _STACKED)):
        yield np.stack(block)
