"""What was expected of a workflow run beside what became of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from linnaeus.progress import bytes_text, duration_text
from linnaeus.workflow.file.config import Prices
from linnaeus.workflow.forecast.cost import READING, cost_of, money_text, used_by
from linnaeus.workflow.workflow_run import STEPS, Step, WorkflowRun

Unit = Literal["images", "bytes", "seconds"]
_NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Row:
    """One figure; None where nothing is known, or nothing was expected."""

    what: str
    expected: float | None
    actual: float | None
    unit: str
    """`images`, `bytes`, `seconds`, or a currency."""


def against_actual(forecast: Mapping[str, Any], run: WorkflowRun) -> list[Row]:
    """Both for each figure, in the order of the steps; nothing where nothing was forecast.

    Args:
        forecast: as the run's record keeps it.
        run: after its steps.
    """
    return list(_rows(forecast, run)) if forecast else []


def _rows(forecast: Mapping[str, Any], run: WorkflowRun) -> Iterator[Row]:
    yield Row("listed", forecast["objects"], _fact(run.step("manifest"), "objects"), "images")
    yield Row("embedded", forecast["to_embed"], _fact(run.step("embed"), "done"), "images")
    yield Row("scored", forecast["to_score"], _fact(run.step("score"), "done"), "images")
    read = _total(run, "bytes_read")
    yield Row("read", forecast["to_read_bytes"], read, "bytes")
    expected: Mapping[str, float] = forecast["seconds"]
    for name in STEPS:
        step = run.step(name)
        done = step is not None and step.status != "skipped"
        if name in expected or done:
            yield Row(name, expected.get(name), step.seconds if step else None, "seconds")
    used = used_by(run)
    total = None if forecast["unknown"] else sum(expected.values())  # else it would mislead
    yield Row("in all", total, used.seconds, "seconds")
    cost = cost_of(Prices(**forecast["prices"]), used)
    yield Row("cost", forecast["cost"], cost.total, cost.currency)


def _fact(step: Step | None, name: str) -> float | None:
    """A count that a step left; none of what was skipped is 0."""
    if step is None:
        return None
    fact: float | None = step.facts.get(name, 0 if step.status == "skipped" else None)
    return fact


def _total(run: WorkflowRun, name: str) -> float | None:
    known = [_fact(run.step(step), name) for step in READING]
    totals = [one for one in known if one is not None]
    return sum(totals) if totals else None


def table_text(rows: Sequence[Row]) -> str:
    """The rows in three columns, for people."""
    if not rows:
        return ""
    cells = [("", "plan", "actual"), *((row.what, *_cells(row)) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return "\n".join(
        f"{what:<{widths[0]}}  {plan:>{widths[1]}}  {actual:>{widths[2]}}"
        for what, plan, actual in cells
    )


def _cells(row: Row) -> tuple[str, str]:
    return _cell(row.expected, row.unit), _cell(row.actual, row.unit)


def _cell(value: float | None, unit: str) -> str:
    if value is None:
        return _NOTHING
    match unit:
        case "images":
            return f"{value:,.0f}"
        case "bytes":
            return bytes_text(round(value))
        case "seconds":
            return duration_text(value)
    return money_text(value, unit)
