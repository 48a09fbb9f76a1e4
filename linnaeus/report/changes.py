"""What a scoring run changed, as its page tells it: how many, from what to what, which surely."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from linnaeus import layout
from linnaeus.labels import Churn, churn
from linnaeus.records import UNKNOWN
from linnaeus.storage import Folder
from linnaeus.tables import database

PAIRS, PICTURES = 30, 48

_PAIRS = f"""
SELECT list_sort(was) AS was, list_sort(labels) AS now, count(*) AS pictures FROM changes
GROUP BY ALL ORDER BY pictures DESC, was, now LIMIT {PAIRS}
"""
_MOST_CONFIDENT = f"""
SELECT uri, was, was_confidence, labels, confidence FROM changes
ORDER BY confidence DESC, uri LIMIT {PICTURES}
"""


@dataclass(frozen=True)
class Change:
    """One picture whose labels changed."""

    uri: str
    was: str
    was_confidence: float
    now: str
    confidence: float

    @property
    def name(self) -> str:
        """The last part of the location."""
        return self.uri.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Changes:
    """The changes of a run against the labels that its source had before."""

    churn: Churn
    pairs: list[tuple[str, str, int]]
    """(label before, label now, pictures), the most frequent first."""
    most_confident: list[Change]


def of_run(workspace: Folder, run_id: str) -> Changes:
    """The changes of a scoring run; empty where nothing was labelled before it."""
    counted = churn.of_run(workspace, run_id)
    if not counted.changed:
        return Changes(counted, [], [])
    with (
        workspace.open(layout.changes(run_id)) as file,
        database({"changes": _stream(pq.ParquetFile(file))}) as connection,
    ):
        pairs = connection.execute(_PAIRS).fetchall()
        surest = connection.execute(_MOST_CONFIDENT).fetchall()
    return Changes(
        counted,
        [(_text(was), _text(now), pictures) for was, now, pictures in pairs],
        [
            Change(uri, _text(was), was_confidence, _text(now), confidence)
            for uri, was, was_confidence, now, confidence in surest
        ],
    )


def _stream(file: pq.ParquetFile) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())


def _text(labels: list[str]) -> str:
    return ", ".join(labels) or UNKNOWN
