"""Rows of an embeddings table that nobody computed: each content's vector follows from its name."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from linnaeus import layout
from linnaeus.records import EMBEDDINGS
from linnaeus.storage import Folder
from linnaeus.tables import Part, Table, parts

FINGERPRINT = "f0f0f0f0f0f0f0f0"
SIZE = 5


def table_in(workspace: Folder) -> Table:
    """The table that the rows belong to."""
    return Table(workspace, layout.embeddings(FINGERPRINT), EMBEDDINGS)


def vector_of(content: str) -> np.ndarray:
    """float32 [SIZE]."""
    seed = int.from_bytes(hashlib.sha256(content.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).random(SIZE, np.float32)


def write_part(table: Table, run_id: str, contents: Sequence[str], name: str = "0") -> Part:
    """Write a part that is not committed."""
    rows = pa.table(
        {
            "sha256": list(contents),
            "embedding": [vector_of(content) for content in contents],
            "run_id": [run_id] * len(contents),
        },
        schema=EMBEDDINGS,
    )
    part = parts.write(table.workspace, f"{table.key}/{run_id}/{name}.parquet", rows)
    assert part is not None
    return part


def add_run(table: Table, run_id: str, *contents: Iterable[str]) -> list[Part]:
    """Commit a run that wrote a part for each of the lists."""
    written = [write_part(table, run_id, list(c), str(i)) for i, c in enumerate(contents)]
    table.append(written, run_id)
    return written


def rows_of(table: Table) -> list[tuple[str, tuple[float, ...]]]:
    """What a reader of the table sees, sorted: contents and their vectors."""
    rows = table.scan(["sha256", "embedding"]).read_all().to_pylist()
    return sorted((row["sha256"], tuple(row["embedding"])) for row in rows)


def rows_for(contents: Iterable[str]) -> list[tuple[str, tuple[float, ...]]]:
    """What a reader should see of contents."""
    return sorted((content, tuple(map(float, vector_of(content)))) for content in contents)
