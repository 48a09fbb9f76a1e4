"""Stored embeddings: in which row of which part a content's vector lies, and a part's vectors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from numpy.typing import NDArray

from linnaeus import layout
from linnaeus.errors import FailureCode, StorageError
from linnaeus.records import EMBEDDINGS
from linnaeus.storage import Folder
from linnaeus.tables.table import Table

Places = Mapping[str, Mapping[str, int]]
"""By part: each content's row."""

LOOK_UPS = 3
"""So often vectors are looked up anew whose parts are gone when they are to be read."""

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
        return self._stream(LOCATIONS, lambda number: self.parts[number])

    def places(self) -> pa.RecordBatchReader:
        """The same stream with each part's number among `parts` in place of its name."""
        return self._stream(PLACES, lambda number: number)

    def _stream(self, schema: pa.Schema, part: Callable[[int], object]) -> pa.RecordBatchReader:
        batches = (
            pa.record_batch([digests, pa.repeat(part(number), len(digests)), rows], schema=schema)
            for number, digests, rows in self.digests()
        )
        return pa.RecordBatchReader.from_batches(schema, batches)

    def digests(self) -> Iterator[tuple[int, pa.Array, pa.Array]]:
        """Each part's number among `parts`, its contents, and their rows; parts are read ahead."""
        with ThreadPoolExecutor(8) as pool:
            for first in range(0, len(self.parts), _PARTS_AHEAD):
                names = self.parts[first : first + _PARTS_AHEAD]
                digests = pool.map(lambda part: self._read(part, "sha256"), names)
                for number, column in enumerate(digests, first):
                    yield number, column, pa.array(np.arange(len(column)))

    def find(self, digests: Sequence[str]) -> Places:
        """Where the vectors of contents lie; those that have none are left out."""
        wanted = pa.array(digests, pa.string())
        found: dict[str, dict[str, int]] = {}
        missing = set(digests)
        for batch in self.locations():
            for row in batch.filter(pc.is_in(batch["sha256"], wanted)).to_pylist():
                if row["sha256"] in missing:
                    missing.remove(row["sha256"])
                    found.setdefault(row["part"], {})[row["sha256"]] = row["row"]
        return found

    def vectors(
        self, part: str, rows: Sequence[int] | NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of a part, float32 [rows, D]: those of `rows`, in that order, or all of them.

        One row group is in memory at a time, and groups without a wanted row are not read: merged
        parts are large.
        """
        with Folder(self.table.uri).open(part) as file:
            parquet = pq.ParquetFile(file)
            sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
            starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            wanted = np.arange(starts[-1]) if rows is None else np.asarray(rows, np.int64)
            groups = np.searchsorted(starts, wanted, side="right") - 1
            found = np.empty((len(wanted), 0), np.float32)
            for group in np.unique(groups):
                targets = np.flatnonzero(groups == group)
                vectors = _matrix(parquet.read_row_group(group, columns=["embedding"]))
                if not found.shape[1]:
                    found = np.empty((len(wanted), vectors.shape[1]), np.float32)
                found[targets] = vectors[wanted[targets] - starts[group]]
        return found


class StoredContents:
    """Which contents have a vector in a snapshot of a table, and where: 24 bytes a row."""

    def __init__(self, table: EmbeddingTable) -> None:
        digests, parts = [np.empty((0, 2), np.uint64)], [np.empty((0, 2), np.int32)]
        for number, column, rows in table.digests():
            digests.append(_first_bits(column.to_pylist()))
            parts.append(np.stack([np.full(len(rows), number), rows], axis=1).astype(np.int32))
        self._names = table.parts
        self._digests, self._places = np.concatenate(digests), np.concatenate(parts)
        order = np.argsort(self._digests[:, 0], kind="stable")
        self._digests, self._places = self._digests[order], self._places[order]

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, str) and self._find(digest) is not None

    def place(self, digest: str) -> tuple[str, int]:
        """The part and row of a content's vector; KeyError where the table has none."""
        found = self._find(digest)
        if found is None:
            raise KeyError(digest)
        part, row = self._places[found].tolist()
        return self._names[part], row

    def _find(self, digest: str) -> int | None:
        """The place's position.

        Of a SHA-256 its first 128 bits are compared, of which nobody finds two alike.
        """
        [(first, second)] = _first_bits([digest])
        at = int(np.searchsorted(self._digests[:, 0], first))
        while at < len(self._digests) and self._digests[at, 0] == first:
            if self._digests[at, 1] == second:
                return at
            at += 1
        return None


def _first_bits(digests: Sequence[str]) -> NDArray[np.uint64]:
    """The first 128 bits of each hexadecimal SHA-256, uint64 [n, 2]."""
    whole = np.frombuffer(bytes.fromhex("".join(digests)), ">u8").reshape(-1, 4)
    return whole[:, :2].astype(np.uint64)


def _matrix(rows: pa.Table) -> NDArray[np.float32]:
    column = rows.column("embedding").combine_chunks()
    return np.asarray(column.flatten()).reshape(len(column), -1)


def stored_vectors(
    workspace: Folder, fingerprint: str, places: Places, look_ups: int = LOOK_UPS
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Contents and their vectors, part by part, from where a plan found them.

    Where a part is gone, since it was merged with others and swept away after the plan was made,
    its contents are looked up again: that reads the digests of the whole table.

    Raises:
        StorageError: a content has no vector any more, or parts cannot be read.
    """
    table = EmbeddingTable(workspace, fingerprint)
    moved: list[str] = []
    for part, rows in places.items():
        try:
            vectors = table.vectors(part, list(rows.values()))
        except StorageError as error:
            if error.code is not FailureCode.NOT_FOUND or not look_ups:
                raise
            moved += rows
        else:
            yield from zip(rows, vectors, strict=True)
    if moved:
        found = EmbeddingTable(workspace, fingerprint).find(moved)
        _require_all(moved, found, table)
        yield from stored_vectors(workspace, fingerprint, found, look_ups - 1)


def _require_all(digests: Sequence[str], found: Places, table: EmbeddingTable) -> None:
    missing = len(digests) - sum(map(len, found.values()))
    if missing:
        raise StorageError(
            f"{table.table.uri}: {missing} vectors that the plan counts on are gone: has somebody "
            "deleted the table? Run the same command again when this run has been given up"
        )
