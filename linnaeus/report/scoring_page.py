"""The page of a scoring run."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from ulid import ULID

from linnaeus import layout
from linnaeus.records import FAILURES, UNKNOWN
from linnaeus.report import changes, judgements
from linnaeus.report.finished import FinishedRun
from linnaeus.report.page import render
from linnaeus.report.thumbnails import thumbnails
from linnaeus.storage import Folder
from linnaeus.tables import Table, query

SAMPLE, LEAST_CERTAIN = 96, 36
SHARES, FAILED = 30, 100


def page(workspace: Folder, run: FinishedRun) -> str:
    """The whole page as HTML."""
    with judgements.of_scoring(workspace, run) as judged:
        verdicts, held_out = judged.verdicts(), judged.held_out()
        labels = judged.labels()
        confidences = judged.confidences()
        sample, least_certain = judged.sample(SAMPLE), judged.least_certain(LEAST_CERTAIN)
    changed = changes.of_run(workspace, run.run_id)
    shown = [one.uri for one in (*sample, *least_certain)]
    shown += [one.uri for one in changed.most_confident]
    return render(
        "scoring.html",
        run=run,
        model=run.model,
        day=_day(run.run_id),
        verdicts=verdicts,
        held_out=held_out,
        shares=shares([*labels, (UNKNOWN, verdicts["unsure"])], SHARES),
        confidences=confidences,
        fullest=max(sum(bin_.values()) for bin_ in confidences),
        sample=sample,
        least_certain=least_certain,
        failures=_failures(workspace, run),
        changes=changed,
        thumbnails=thumbnails(shown),
    )


def shares(counts: list[tuple[str, int]], most: int) -> list[tuple[str, int]]:
    """The most frequent labels, the others as one; labels that nothing has are left out."""
    ordered = sorted((one for one in counts if one[1]), key=lambda one: -one[1])
    if len(ordered) <= most:
        return ordered
    rest = ordered[most - 1 :]
    return [*ordered[: most - 1], (f"{len(rest):,} others", sum(count for _, count in rest))]


def _day(run_id: str) -> str:
    """When the run began, as its id says."""
    return datetime.fromtimestamp(ULID.from_str(run_id).timestamp, UTC).date().isoformat()


def _failures(workspace: Folder, run: FinishedRun) -> list[dict[str, Any]]:
    """Some of the run's failures, by code."""
    columns = ["code", "uri", "message"]
    found = Table(workspace, layout.FAILURES, FAILURES).scan(
        columns, pc.field("run_id") == run.run_id
    )
    ordered: pa.Table = query(
        f"SELECT * FROM found ORDER BY code, uri LIMIT {FAILED}", {"found": found}
    )
    failures: list[dict[str, Any]] = ordered.to_pylist()
    return failures
