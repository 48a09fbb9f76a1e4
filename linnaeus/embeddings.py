"""Stored embeddings: in which row of which part a content's vector lies, and a part's vectors."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from numpy.typing import NDArray

from linnaeus import layout
from linnaeus.records import EMBEDDINGS
from linnaeus.storage import Folder
from linnaeus.tables import Table

LOCATIONS = pa.schema([("sha256", pa.string()), ("part", pa.string()), ("row", pa.int64())])
PLACES = pa.schema([("sha256", pa.string()), ("part", pa.int64()), ("row", pa.int64())])

_PARTS_AHEAD = 64
"""Parts whose digests may wait in memory."""


class EmbeddingTable:
    """One snapshot of a backbone's embeddings; it is taken when first read."""

    def __init__(self, workspace: Folder, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.table = Table(workspace, layout.embeddings(fingerprint), EMBEDDINGS)

    @cached_property
    def _snapshot(self) -> DeltaTable | None:
        return self.table.load()

    @property
    def version(self) -> int | None:
        """Delta version that is read; None where nothing is stored."""
        return None if self._snapshot is None else self._snapshot.version()

    @cached_property
    def parts(self) -> list[str]:
        """Paths of the parts below the table's folder, sorted."""
        if self._snapshot is None:
            return []
        return sorted(pa.table(self._snapshot.get_add_actions(flatten=True))["path"].to_pylist())

    def _read(self, part: str, column: str) -> pa.Array:
        with Folder(self.table.uri).open(part) as file:
            table = pq.ParquetFile(file).read(columns=[column])
        return cast(pa.Array, table.column(column).combine_chunks())

    def locations(self) -> pa.RecordBatchReader:
        """Stream of (sha256, part, row); a content may come several times, with equal vectors."""
        named = (
            pa.record_batch(
                [digests, pa.repeat(pa.scalar(self.parts[number]), len(digests)), rows],
                schema=LOCATIONS,
            )
            for number, digests, rows in self._digests()
        )
        return pa.RecordBatchReader.from_batches(LOCATIONS, named)

    def places(self) -> pa.RecordBatchReader:
        """The same stream with each part's number among `parts` in place of its name."""
        numbered = (
            pa.record_batch([digests, pa.repeat(number, len(digests)), rows], schema=PLACES)
            for number, digests, rows in self._digests()
        )
        return pa.RecordBatchReader.from_batches(PLACES, numbered)

    def _digests(self) -> Iterator[tuple[int, pa.Array, pa.Array]]:
        with ThreadPoolExecutor(8) as pool:
            for first in range(0, len(self.parts), _PARTS_AHEAD):
                names = self.parts[first : first + _PARTS_AHEAD]
                digests = pool.map(lambda part: self._read(part, "sha256"), names)
                for number, column in enumerate(digests, first):
                    yield number, column, pa.array(np.arange(len(column)))

    def vectors(self, part: str) -> NDArray[np.float32]:
        """All vectors of a part: float32 [rows, D], in the part's order."""
        column = self._read(part, "embedding")
        return np.asarray(column.flatten()).reshape(len(column), -1)
