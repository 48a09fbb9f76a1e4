"""What must hold, or the run ends with the old model and the old labels in place."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from linnaeus import layout
from linnaeus.records import Counts
from linnaeus.workflow.context import Refused
from linnaeus.workflow.file.config import Gates

_WORK = ("planned", "done", "failed", "new_failures", "bytes_read", "embedded")


def with_work(counts: Counts, more: Counts) -> Counts:
    """What was done in both runs; what was up to date is counted of the first alone."""
    done: dict[str, Any] = {name: getattr(counts, name) + getattr(more, name) for name in _WORK}
    return replace(counts, **done, codes=(counts + more).codes)


def with_refused(counts: Counts, refused: Mapping[str, Any]) -> Counts:
    """Counts of a step with those of its attempts that a gate refused in the same run.

    What failed for the first time then is no new failure any more, and would pass the gate now.
    """
    names = [field.name for field in fields(Counts) if field.name in refused]
    return with_work(counts, Counts(**{name: refused[name] for name in names}))


def failures_allowed(limit: int | float, planned: int) -> int:
    """How many new failures may be: a whole number says it, another one is a share."""
    return limit if isinstance(limit, int) else int(limit * planned)


def refuse_failures(
    gates: Gates, run_id: str, counts: Counts, facts: Mapping[str, Any] | None = None
) -> None:
    """Refuse what failed too often.

    Raises:
        Refused: more images failed for the first time than may.
    """
    allowed = failures_allowed(gates.failures_at_most, counts.planned)
    if counts.new_failures > allowed:
        codes = ", ".join(f"{code} {count:,}" for code, count in counts.codes.items())
        raise Refused(
            f"{counts.new_failures:,} of {counts.planned:,} images failed for the first time "
            f"({codes}), and failures_at_most = {gates.failures_at_most:g} allows {allowed:,}: "
            f"linnaeus status {run_id} says why each; the labels stay as they were",
            facts,
        )


def refuse_churn(
    gates: Gates, run_id: str, counts: Counts, facts: Mapping[str, Any] | None = None
) -> None:
    """Refuse labels of which too many are others than before.

    Raises:
        Refused: a larger share changes than may.
    """
    if gates.churn_at_most is None or not counts.compared:
        return
    share = counts.changed / counts.compared
    if share > gates.churn_at_most:
        raise Refused(
            f"{counts.changed:,} of {counts.compared:,} labels would change ({share:.1%}), and "
            f"churn_at_most = {gates.churn_at_most:g}: the labels stay as they were; "
            f"{layout.changes(run_id)} in the workspace has what would change: raise churn_at_most "
            "for a workflow run if it should",
            facts,
        )
