"""Results as a table for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from benchmarks.accuracy.measure import Result
from benchmarks.accuracy.rows import settings

RIGHT = ("accuracy", "s.d.", "goal", "", "seeds", "test images", "s")


def show(results: Sequence[Result], console: Console) -> None:
    """Print the table, and below it the settings of each row."""
    columns = (Column(title, justify="right" if title else "left") for title in RIGHT)
    table = Table("Row", *columns)
    for result in results:
        table.add_row(*_cells(result))
    console.print(table)
    for result in results:
        chosen = settings(result.row.config).items()
        text = ", ".join(f"{name} {value}" for name, value in chosen)
        console.print(f"{result.row.name}: {text}", markup=False, highlight=False)


def _cells(result: Result) -> tuple[str, ...]:
    return (
        result.row.name,
        f"{result.accuracy:.2%}",
        f"{result.deviation:.2%}" if len(result.trained) > 1 else "",
        f"{result.row.goal:.1%}",
        "met" if result.row.met(result.accuracy) else "[bold]not met[/bold]",
        str(len(result.trained)),
        f"{result.trained[0].test_images:,}",
        f"{result.seconds:,.0f}",
    )


def as_json(results: Sequence[Result], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured."""
    return {**facts, "rows": [result.to_dict() for result in results]}
