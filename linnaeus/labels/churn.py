"""Churn: which labels a scoring run changes, against what the run before it said."""

import io
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import DuckDBPyConnection

from linnaeus import layout
from linnaeus.documents import Document, intact
from linnaeus.records import CHANGES
from linnaeus.storage import Folder
from linnaeus.tables import parts

BEFORE = ("uri", "etag", "status", "labels", "confidence", "model_version", "run_id")
"""The columns of the labels table that a run is compared with."""

_COMPARED = """
CREATE OR REPLACE TEMP TABLE compared AS
SELECT uri, etag, now.sha256, before.labels AS was, before.confidence AS was_confidence,
    before.model_version AS was_version, now.labels, now.confidence
FROM current AS now JOIN before USING (uri, etag)
WHERE now.status = 'labelled' AND before.status = 'labelled' AND before.run_id <> now.run_id
"""
_CHANGED = "SELECT * FROM compared WHERE list_sort(was) <> list_sort(labels)"


@dataclass(frozen=True)
class Churn(Document):
    """How many objects had labels before, and how many of these have others now."""

    compared: int = 0
    changed: int = 0


def record(
    workspace: Folder, connection: DuckDBPyConnection, before: pa.RecordBatchReader, run_id: str
) -> None:
    """Keep a run's changes, schema `CHANGES`; in place of those against labels that are older.

    Args:
        workspace: where the run is.
        connection: has the table `current` (`records.LABELS`).
        before: the labels that are to be replaced, columns `BEFORE`.
        run_id: whose labels `current` are. A label that both have of one run is not compared: it
            was not given anew.
    """
    connection.register("before", before)
    connection.execute(_COMPARED)
    connection.unregister("before")
    [(compared,)] = connection.execute("SELECT count(*) FROM compared").fetchall()
    changed = connection.sql(_CHANGED).to_arrow_reader().cast(CHANGES)
    workspace.write(layout.changes(run_id), _encoded(changed, compared))


def of_run(workspace: Folder, run_id: str) -> Churn:
    """What was recorded of a run; nothing where no labels were replaced."""
    key = layout.changes(run_id)
    if workspace.head(key) is None:
        return Churn()
    with intact(workspace.uri_of(key), "delete it"):
        text = parts.read_metadata(workspace, key)["churn"]
    return Churn.from_json(text, workspace.uri_of(key))


def _encoded(changed: pa.RecordBatchReader, compared: int) -> bytes:
    sink, rows = io.BytesIO(), 0
    with pq.ParquetWriter(sink, CHANGES, compression="zstd") as writer:
        for batch in changed:
            writer.write_batch(batch)
            rows += batch.num_rows
        writer.add_key_value_metadata({"churn": Churn(compared, rows).to_json()})
    return sink.getvalue()
