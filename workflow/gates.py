"""What must hold, or the night ends with the old model and the old labels in place."""

from collections.abc import Mapping
from typing import Any

from linnaeus.records import Counts
from workflow.config import Gates
from workflow.context import Refused


def failures_allowed(limit: int | float, planned: int) -> int:
    """How many new failures may be: a whole number says it, another one is a share."""
    return limit if isinstance(limit, int) else int(limit * planned)


def refuse_failures(gates: Gates, counts: Counts, facts: Mapping[str, Any] | None = None) -> None:
    """Refuse what failed too often.

    Raises:
        Refused: more images failed for the first time than may.
    """
    allowed = failures_allowed(gates.failures_at_most, counts.planned)
    if counts.new_failures > allowed:
        run = (facts or {}).get("run_id") or "RUN"
        codes = ", ".join(f"{code} {count:,}" for code, count in counts.codes.items())
        raise Refused(
            f"{counts.new_failures:,} of {counts.planned:,} images failed for the first time "
            f"({codes}), and failures_at_most = {gates.failures_at_most:g} allows {allowed:,}: "
            f"linnaeus status {run} says why each; the labels stay as they were",
            facts,
        )


def refuse_churn(gates: Gates, counts: Counts, facts: Mapping[str, Any] | None = None) -> None:
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
            "changes.parquet of the run that linnaeus status lists as given up has what would "
            "change: raise churn_at_most for a night if it should",
            facts,
        )
