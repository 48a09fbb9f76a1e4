"""Steps as bars on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from linnaeus.plain_text import plain
from linnaeus.progress.meter import Figures, Meter
from linnaeus.progress.protocols import Step, ending

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import Task, TaskID


class RichProgress:
    """A bar with rate and time left, which gives way to one line when the step is done."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    @contextmanager
    def step(self, name: str, total: int | None, unit: str = "images") -> Iterator[Step]:
        """Draw the step's bar."""
        from rich.console import Console

        console = Console(file=self._stream, highlight=False)
        meter = Meter(name, total, unit)

        def finish(line: str) -> None:
            console.print(plain(line), markup=False, soft_wrap=True)

        with ending(meter, finish), _bars(console, meter) as bars:
            yield _BarStep(meter, bars, bars.add_task(plain(name), total=total))


class _BarStep:
    def __init__(self, meter: Meter, bars: Bars, task: TaskID) -> None:
        self._meter = meter
        self._bars = bars
        self._task = task

    def update(self, done: int, failed: int = 0, figures: Figures | None = None) -> None:
        self._meter.update(done, failed, figures)
        self._bars.update(self._task, completed=done)

    def note(self, line: str) -> None:
        self._meter.note(line)

    def warn(self, line: str) -> None:
        self._bars.console.print(plain(line), style="yellow", markup=False, soft_wrap=True)


def _bars(console: Any, meter: Meter) -> Bars:
    from rich import progress
    from rich.table import Column

    class FactsColumn(progress.ProgressColumn):
        def render(self, task: Task) -> str:
            return ", ".join(meter.facts())

    counted = (
        []
        if meter.total is None
        else [progress.MofNCompleteColumn(), FactsColumn(Column(no_wrap=True))]
    )
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=None),  # gives way to the words where there is little room
        *counted,
        console=console,
        transient=True,
        expand=True,
        refresh_per_second=4,
    )
