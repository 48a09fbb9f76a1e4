"""What was expected of a night beside what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from linnaeus.progress import bytes_text, duration_text
from workflow.night import STEPS, Night, Step, StepName

Unit = Literal["images", "bytes", "seconds"]
_NOTHING = "\N{EN DASH}"
_READING: tuple[StepName, ...] = ("embed", "score")


@dataclass(frozen=True)
class Row:
    """One figure; None where nothing is known, or nothing was expected."""

    what: str
    expected: float | None
    actual: float | None
    unit: str
    """`images`, `bytes`, `seconds`, or a currency."""


def price(prices: Mapping[str, Any], seconds: float, size_bytes: float, reads: float) -> float:
    """What so much costs, at the prices of a workflow file."""
    machine = seconds / 3600 * prices["per_hour"]
    transfer = size_bytes / 1e9 * prices["per_gigabyte_read"]
    return float(machine + transfer + reads / 1000 * prices["per_thousand_reads"])


def against_actual(forecast: Mapping[str, Any], night: Night) -> list[Row]:
    """Both for each figure, in the order of the steps; nothing where nothing was forecast.

    Args:
        forecast: as the night's record keeps it.
        night: after its steps.
    """
    return list(_rows(forecast, night)) if forecast else []


def _rows(forecast: Mapping[str, Any], night: Night) -> Iterator[Row]:
    yield Row("listed", forecast["objects"], _fact(night.step("manifest"), "objects"), "images")
    yield Row("embedded", forecast["to_embed"], _fact(night.step("embed"), "done"), "images")
    yield Row("scored", forecast["to_score"], _fact(night.step("score"), "done"), "images")
    read = _total(night, "bytes_read")
    yield Row("read", forecast["to_read_bytes"], read, "bytes")
    expected: Mapping[str, float] = forecast["seconds"]
    for name in STEPS:
        step = night.step(name)
        done = step is not None and step.status != "skipped"
        if name in expected or done:
            yield Row(name, expected.get(name), step.seconds if step else None, "seconds")
    seconds = sum(step.seconds for step in night.steps)
    total = None if forecast["unknown"] else sum(expected.values())  # else it would mislead
    yield Row("in all", total, seconds, "seconds")
    prices = forecast["prices"]
    cost = price(prices, seconds, read or 0, _reads(night))
    yield Row("cost", forecast["cost"], cost, prices["currency"])


def _fact(step: Step | None, name: str) -> float | None:
    """A count that a step left; none of what was skipped is 0."""
    if step is None:
        return None
    found: float | None = step.facts.get(name, 0 if step.status == "skipped" else None)
    return found


def _total(night: Night, name: str) -> float | None:
    known = [_fact(night.step(step), name) for step in _READING]
    found = [one for one in known if one is not None]
    return sum(found) if found else None


def _reads(night: Night) -> float:
    """Requests: an object each, where anything was read."""
    steps = [step for name in _READING if (step := night.step(name))]
    return sum(step.facts.get("planned") or 0 for step in steps if step.facts.get("bytes_read"))


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


def money_text(amount: float, currency: str) -> str:
    """`0.02 USD`, or `under 0.01 USD`."""
    return f"under 0.01 {currency}" if 0 < amount < 0.01 else f"{amount:,.2f} {currency}"
