"""What a model said of pictures, held against what they are, in a database that picks from them.

The rows stay in DuckDB, so a scoring run over many millions of pictures needs no more memory than
a small one; only what the page shows becomes Python.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow.compute as pc
from duckdb import DuckDBPyConnection

from linnaeus import layout
from linnaeus.models import Model
from linnaeus.records import HELD_OUT_PREDICTIONS, PREDICTIONS
from linnaeus.report.finished import FinishedRun
from linnaeus.storage import Folder
from linnaeus.tables import Table, database, parts

CONFIDENCE_BINS = 20


class Verdict(StrEnum):
    """What is to be thought of an answer."""

    RIGHT = "right"
    WRONG = "wrong"
    UNSURE = "unsure"
    """The model was not sure enough to answer."""
    OPEN = "open"
    """No label that was held out says what the picture is."""


@dataclass(frozen=True)
class Judgement:
    """One picture, what it is, and what the model says it is."""

    uri: str
    sha256: str
    truth: list[str] | None
    """Its labels; None where they are not known."""
    said: list[str]
    confidence: float
    verdict: Verdict

    @property
    def name(self) -> str:
        """The last part of the location."""
        return self.uri.rsplit("/", 1)[-1]

    @property
    def answer(self) -> str:
        """The labels that were given, in words."""
        nothing = "unknown" if self.verdict is Verdict.UNSURE else "no label"
        return ", ".join(self.said) or nothing

    @property
    def truth_text(self) -> str:
        """The true labels, in words; empty where they are not known."""
        return "" if self.truth is None else ", ".join(self.truth) or "no label"


# By content, as a copy of a training picture is one; and a folder's name alone is no label.
_OF_SCORING = """
CREATE TEMP TABLE said AS
SELECT predictions.*, truth FROM predictions LEFT JOIN (
    SELECT sha256, any_value(truth) AS truth FROM trained WHERE split = 'test' GROUP BY sha256
) USING (sha256)
"""
_JUDGED = """
CREATE TEMP TABLE judged AS
SELECT *, CASE
    WHEN len(labels) = 0 AND NOT $multi THEN 'unsure'
    WHEN truth IS NULL THEN 'open'
    WHEN list_sort(labels) = list_sort(truth) THEN 'right'
    ELSE 'wrong' END AS verdict
FROM said
"""


class Judgements:
    """A run's judged pictures. Which of them are picked depends on their names alone."""

    def __init__(self, connection: DuckDBPyConnection, *, multi: bool) -> None:
        self._connection = connection
        self._multi = multi

    def sample(self, count: int) -> list[Judgement]:
        """Pictures picked by a hash of their names."""
        return self._pick("TRUE", "md5(uri)", count)

    def mistakes(self, count: int) -> list[Judgement]:
        """Wrong answers, the most confident first."""
        return self._pick("verdict = 'wrong'", "confidence DESC, uri", count)

    def least_certain(self, count: int) -> list[Judgement]:
        """Answers that say least; of several labels, those with a score near one half."""
        half = "list_min(list_transform(top_scores, lambda s: abs(s - 0.5)))"
        return self._pick("TRUE", f"{half if self._multi else 'confidence'}, uri", count)

    def verdicts(self) -> dict[str, int]:
        """Pictures by verdict; every verdict is there."""
        counted = self._rows("SELECT verdict, count(*) FROM judged GROUP BY ALL")
        return {**dict.fromkeys(map(str, Verdict), 0), **dict(counted)}

    def held_out(self) -> dict[str, int]:
        """Contents whose true labels are known, each once, by verdict; every verdict is there."""
        counted = self._rows(
            "SELECT verdict, count(DISTINCT sha256) FROM judged WHERE truth IS NOT NULL "
            "GROUP BY ALL"
        )
        return {**dict.fromkeys(map(str, Verdict), 0), **dict(counted)}

    def labels(self) -> list[tuple[str, int]]:
        """Labels that were given and how often, the most frequent first."""
        return self._rows(
            "SELECT label, count(*) AS n FROM (SELECT unnest(labels) AS label FROM judged) "
            "GROUP BY ALL ORDER BY n DESC, label"
        )

    def confidences(self) -> list[dict[str, int]]:
        """Pictures by verdict in `CONFIDENCE_BINS` equal ranges of confidence from 0 to 1."""
        counted = self._rows(
            f"SELECT least(floor(confidence * {CONFIDENCE_BINS})::INT, {CONFIDENCE_BINS - 1}), "
            "verdict, count(*) FROM judged GROUP BY ALL"
        )
        bins = [dict.fromkeys(map(str, Verdict), 0) for _ in range(CONFIDENCE_BINS)]
        for bin_number, verdict, count in counted:
            bins[bin_number][verdict] = count
        return bins

    def _pick(self, where: str, order: str, count: int) -> list[Judgement]:
        rows = self._rows(
            "SELECT uri, sha256, truth, labels, confidence, verdict FROM judged "
            f"WHERE {where} ORDER BY {order} LIMIT {count}"
        )
        return [
            Judgement(uri, sha256, truth, said, confidence, Verdict(verdict))
            for uri, sha256, truth, said, confidence, verdict in rows
        ]

    def _rows(self, sql: str) -> list[Any]:
        return self._connection.execute(sql).fetchall()


@contextmanager
def of_training(
    workspace: Folder, run: FinishedRun, splits: tuple[str, ...] = ("test",)
) -> Iterator[Judgements]:
    """The judged pictures of some splits of a training run."""
    table = parts.read(workspace, layout.held_out_predictions(run.run_id), HELD_OUT_PREDICTIONS)
    said = table.filter(pc.is_in(table["split"], pc.cast(list(splits), "string")))
    with database({"said": said}) as connection:
        yield _judged(connection, run.model)


@contextmanager
def of_scoring(workspace: Folder, run: FinishedRun) -> Iterator[Judgements]:
    """All pictures that a scoring run labelled; true are the labels that its model's test had."""
    predictions = Table(workspace, layout.predictions(run.model.name), PREDICTIONS)
    columns = ["uri", "sha256", "label", "labels", "confidence", "top_labels", "top_scores"]
    sources = {
        "predictions": predictions.scan(columns, pc.field("run_id") == run.run_id),
        "trained": parts.read(
            workspace, layout.held_out_predictions(run.model.run_id), HELD_OUT_PREDICTIONS
        ),
    }
    with database(sources) as connection:
        connection.execute(_OF_SCORING)
        yield _judged(connection, run.model)


def _judged(connection: DuckDBPyConnection, model: Model) -> Judgements:
    multi = model.task == "multi"
    connection.execute(_JUDGED, {"multi": multi})
    return Judgements(connection, multi=multi)
