"""The current labels as plain sharded files beside the tables, `_SUCCESS.json` last."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from linnaeus.errors import ConfigurationError
from linnaeus.labels import LabelsTable
from linnaeus.storage import Folder

SUCCESS = "_SUCCESS.json"
ROWS_PER_FILE = 500_000
_OURS = re.compile(r"part-\d{5}-of-\d{5}\.(parquet|jsonl|csv)")
"""What an earlier run may have left; other files in the folder are somebody's."""


@dataclass(frozen=True)
class LabelFiles:
    """What to write and where."""

    folder: Folder
    format: str = "parquet"
    rows_per_file: int = ROWS_PER_FILE

    def __post_init__(self) -> None:
        if self.format not in ENCODERS:
            raise ConfigurationError(
                f"There is no format {self.format!r}; choose {', '.join(ENCODERS)}"
            )

    def write(self, labels: LabelsTable, source: str, summary: dict[str, Any]) -> None:
        """Write a source's labels; does nothing where the same commit's are written already.

        `_SUCCESS.json` is away while files change, so whoever waits for it never reads a mixture.
        """
        table = labels.table.load()
        assert table is not None
        marker = {**summary, "source": source, "format": self.format, "labels": table.version()}
        if self._is_written(marker):
            return
        self.folder.delete(SUCCESS)
        rows = table.to_pyarrow_dataset().to_table(filter=pc.field("source") == source)
        names = self._write_files(rows.sort_by("uri"))
        for entry in self.folder.page("")[0]:
            if _OURS.fullmatch(entry.key) and entry.key not in names:
                self.folder.delete(entry.key)
        marker = {**marker, "files": names, "rows": rows.num_rows, **_by_status(rows)}
        text = json.dumps(marker, indent=1, ensure_ascii=False) + "\n"
        self.folder.write(SUCCESS, text.encode())

    def _is_written(self, marker: dict[str, Any]) -> bool:
        if self.folder.head(SUCCESS) is None:
            return False
        written = json.loads(self.folder.read(SUCCESS))
        return all(written.get(name) == marker[name] for name in ("source", "format", "labels"))

    def _write_files(self, rows: pa.Table) -> list[str]:
        starts = range(0, max(rows.num_rows, 1), self.rows_per_file)
        names = [f"part-{i:05d}-of-{len(starts):05d}.{self.format}" for i in range(len(starts))]
        for name, start in zip(names, starts, strict=True):
            self.folder.write(name, ENCODERS[self.format](rows.slice(start, self.rows_per_file)))
        return names


def _by_status(rows: pa.Table) -> dict[str, int]:
    counts = rows["status"].value_counts().to_pylist()
    return {"labelled": 0, "failed": 0, **{c["values"]: c["counts"] for c in counts}}


def _parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd")
    return sink.getvalue()


def _jsonl(rows: pa.Table) -> bytes:
    lines = (json.dumps(row, ensure_ascii=False, default=_iso) for row in rows.to_pylist())
    return "".join(line + "\n" for line in lines).encode()


def _csv(rows: pa.Table) -> bytes:
    """Lists become `a|b|c`."""
    for i, column in enumerate(rows.schema):
        if pa.types.is_list(column.type):
            texts = rows[column.name].cast(pa.list_(pa.string()))
            rows = rows.set_column(i, column.name, pc.binary_join(texts, "|"))
    sink = io.BytesIO()
    pyarrow.csv.write_csv(rows, sink)
    return sink.getvalue()


def _iso(value: Any) -> str:
    text: str = value.isoformat()
    return text


ENCODERS: dict[str, Callable[[pa.Table], bytes]] = {
    "parquet": _parquet,
    "jsonl": _jsonl,
    "csv": _csv,
}
