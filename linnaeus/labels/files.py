"""The current labels as plain sharded files beside the tables, `_SUCCESS.json` last."""

import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from deltalake import DeltaTable

from linnaeus.documents import Document
from linnaeus.errors import ConfigurationError
from linnaeus.labels.table import LabelsTable
from linnaeus.models import Model
from linnaeus.records import LABELS
from linnaeus.storage import Folder, map_store_errors
from linnaeus.tables import Table, database, gathered

SUCCESS = "_SUCCESS.json"
UNFINISHED = "_UNFINISHED.json"
"""While files change: which of them are ours, so that whoever is killed leaves no stranger's."""
ROWS_PER_FILE = 500_000
BATCH_ROWS = 20_000
"""So many are held as Python objects, or as text, at once, and are a row group of Parquet."""
MEMORY_LIMIT = "300MB"
"""Of the database that sorts; what is more goes to disk, 0.5 GB for a million rows."""
_PART = re.compile(r"part-\d{5}-of-\d{5}\.(parquet|jsonl|csv)")
_IDENTITY = ("source", "format", "model", "model_version", "trained_by", "table", "labels")
"""Of a commit of a table that was made once, by Delta's id, and of the model that gave the labels.
"""


@dataclass(frozen=True)
class Marker(Document, remedy="move it away, or choose another folder", indent=1):
    """What `_SUCCESS.json` says: which labels lie beside it, and whose they are."""

    files: Mapping[str, int | None]
    """Bytes of each; None of one that is about to be written."""
    source: str = ""
    format: str = ""
    model: str = ""
    model_version: int = 0
    trained_by: str = ""
    run_id: str | None = None
    counts: Mapping[str, Any] = field(default_factory=dict)
    table: str = ""
    """Delta's id of the labels table."""
    labels: int = 0
    """Number of the table's commit."""
    rows: int = 0
    labelled: int = 0
    failed: int = 0


@dataclass(frozen=True)
class LabelFiles:
    """What to write and where."""

    folder: Folder
    format: str = "parquet"
    rows_per_file: int = ROWS_PER_FILE
    """At most `BATCH_ROWS`, or a multiple of it."""

    def __post_init__(self) -> None:
        if self.format not in ENCODERS:
            raise ConfigurationError(
                f"There is no format {self.format!r}; choose {', '.join(ENCODERS)}"
            )

    def refuse_strangers(self) -> None:
        """Refuse by `ConfigurationError` parts that no marker of ours names, read with ours."""
        strangers = self._parts().keys() - self._earlier().keys()
        if strangers:
            raise ConfigurationError(
                f"{self.folder.uri_of(min(strangers))} is of no `score --output` that is noted "
                "beside it: move it away, or choose another folder"
            )

    def write(self, labels: LabelsTable, source: str, summary: dict[str, Any]) -> None:
        """Write a source's labels; does nothing where the same commit's are written already.

        `_SUCCESS.json` is away while files change, so whoever waits for it never reads a mixture.

        Raises:
            ConfigurationError: the folder has parts that are not ours.
        """
        table = labels.table.load()
        assert table is not None
        commit: dict[str, Any] = {"table": str(table.metadata().id), "labels": table.version()}
        marker = Marker({}, source, self.format, **summary, **commit)
        self.refuse_strangers()
        if self._is_written(marker):
            return
        of_source = pc.field("source") == source
        with map_store_errors("read", labels.table.uri):
            counts = _counted(labels.table.stream(table, of_source, ["source", "status"]))
        names, earlier = self._names(counts["rows"]), self._earlier()
        self._mark(UNFINISHED, Marker({**earlier, **dict.fromkeys(names)}))
        self.folder.delete(SUCCESS)
        self.folder.sweep()
        with closing(_by_uri(labels.table, table, of_source)) as sorted_rows:
            files = self._write_files(sorted_rows, names)
        for name in earlier.keys() - files.keys():
            self.folder.delete(name)
        self._mark(SUCCESS, replace(marker, files=files, **counts))
        self.folder.delete(UNFINISHED)

    def _is_written(self, marker: Marker) -> bool:
        written = self._read(SUCCESS)
        same = all(getattr(written, name) == getattr(marker, name) for name in _IDENTITY)
        return same and written.files == self._parts()

    def _parts(self) -> dict[str, int]:
        """Bytes of each part that is there, whoever wrote it."""
        return {one.key: one.size for one in self.folder.page("")[0] if _PART.fullmatch(one.key)}

    def _earlier(self) -> dict[str, Any]:
        """The parts that our markers name."""
        named = {**self._read(UNFINISHED).files, **self._read(SUCCESS).files}
        return {name: size for name, size in named.items() if _PART.fullmatch(name)}

    def _read(self, name: str) -> Marker:
        return Marker.read_or_none(self.folder, name) or Marker({})

    def _mark(self, name: str, marker: Marker) -> None:
        self.folder.write(name, marker.to_json().encode())

    def _names(self, rows: int) -> list[str]:
        count = max(1, -(-rows // self.rows_per_file))
        return [f"part-{i:05d}-of-{count:05d}.{self.format}" for i in range(count)]

    def _write_files(self, rows: Iterator[pa.RecordBatch], names: list[str]) -> dict[str, int]:
        batch_rows = min(self.rows_per_file, BATCH_ROWS)
        batches, sizes = gathered(rows, LABELS, batch_rows), {}
        for name in names:
            with self.folder.writing(name) as file:
                ENCODERS[self.format](file, islice(batches, self.rows_per_file // batch_rows))
                sizes[name] = file.tell()
        return sizes


def written_by(model: Model) -> dict[str, Any]:
    """What `_SUCCESS.json` says of the model that gave the labels."""
    return {"model": model.name, "model_version": model.version, "trained_by": model.run_id}


def _counted(rows: Iterable[pa.RecordBatch]) -> dict[str, Any]:
    counts = Counter({"rows": 0, "labelled": 0, "failed": 0})
    for batch in rows:
        counts.update(batch["status"].to_pylist())
        counts["rows"] += batch.num_rows
    return dict(counts)


def _by_uri(
    labels: Table, snapshot: DeltaTable, where: pc.Expression
) -> Generator[pa.RecordBatch, None, None]:
    """A snapshot's rows, sorted by a database that keeps most of them on disk."""
    rows = pa.RecordBatchReader.from_batches(LABELS, labels.stream(snapshot, where))
    with map_store_errors("read", labels.uri), database({}, MEMORY_LIMIT) as connection:
        connection.execute("SET threads = 1")  # each wants memory of its own
        connection.register("labels", rows)
        ordered = connection.sql("FROM labels ORDER BY uri").to_arrow_reader(BATCH_ROWS)
        yield from ordered.cast(LABELS)


def _parquet(file: IO[bytes], batches: Iterable[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(file, LABELS, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _jsonl(file: IO[bytes], batches: Iterable[pa.RecordBatch]) -> None:
    for batch in batches:
        for row in batch.to_pylist():
            file.write(json.dumps(row, ensure_ascii=False, default=_iso).encode() + b"\n")


def _csv(file: IO[bytes], batches: Iterable[pa.RecordBatch]) -> None:
    """Lists become `a|b|c`."""
    with pyarrow.csv.CSVWriter(file, _joined(LABELS.empty_table()).schema) as writer:
        for batch in batches:
            writer.write_table(_joined(pa.Table.from_batches([batch])))


def _joined(rows: pa.Table) -> pa.Table:
    for i, column in enumerate(rows.schema):
        if pa.types.is_list(column.type):
            texts = rows[column.name].cast(pa.list_(pa.string()))
            rows = rows.set_column(i, column.name, pc.binary_join(texts, "|"))
    return rows


def _iso(value: Any) -> str:
    text: str = value.isoformat()
    return text


ENCODERS: dict[str, Callable[[IO[bytes], Iterable[pa.RecordBatch]], None]] = {
    "parquet": _parquet,
    "jsonl": _jsonl,
    "csv": _csv,
}
