"""How a job tells a person, or a machine, how far it is.

A job gets a `Progress` and opens one `Step` at a time:

    with progress.step("Embed", total=2624) as step:
        step.update(done=512, failed=1)
        step.note("2,624 images embedded, 1 failed")

Three renderings share these words: a bar on a terminal, plain lines elsewhere, JSON lines for
machines. All of them write to standard error, so that standard output carries results only.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

FIRST_LINE_SECONDS = 5.0
LONGEST_SILENCE_SECONDS = 60.0

Clock = Callable[[], float]


class Step(Protocol):
    """One stretch of work whose progress is shown."""

    def update(self, done: int, failed: int = 0) -> None:
        """Say how many units are finished so far, and how many of them failed."""

    def note(self, line: str) -> None:
        """Set the one line shown when the step is done, in place of the counts."""


class Progress(Protocol):
    """Where steps are shown."""

    def step(
        self, name: str, total: int | None, unit: str = "images"
    ) -> AbstractContextManager[Step]:
        """Show a step of `total` units (`None`: not known) until the context is left."""


def for_stream(stream: TextIO, *, as_json: bool = False) -> Progress:
    """The rendering that fits: JSON if asked for, a bar on a terminal, else plain lines."""
    if as_json:
        return JsonProgress(stream)
    return RichProgress(stream) if stream.isatty() else PlainProgress(stream)


@dataclass
class Meter:
    """Counts and time of one step, and how to say them in words."""

    name: str
    total: int | None
    unit: str
    clock: Clock = time.monotonic
    done: int = 0
    failed: int = 0
    line: str | None = None

    def __post_init__(self) -> None:
        self.started = self.clock()

    def update(self, done: int, failed: int = 0) -> None:
        """Take over absolute counts."""
        self.done, self.failed = done, failed

    def note(self, line: str) -> None:
        """Keep the line for the end."""
        self.line = line

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the step began."""
        return self.clock() - self.started

    @property
    def rate(self) -> float | None:
        """Units a second, or `None` before anything is done."""
        return self.done / self.elapsed_seconds if self.done and self.elapsed_seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the rate so far, or `None` where that cannot be said."""
        if self.total is None or not self.rate:
            return None
        return max(0.0, self.total - self.done) / self.rate

    def underway(self) -> str:
        """`Embed: 512 of 2,624 images, 84.3 images/s, 25 s left`."""
        of_total = "" if self.total is None else f"{self.done:,} of "
        counted = self.done if self.total is None else self.total
        parts = [f"{of_total}{count_text(counted, self.unit)}", *self._failed()]
        if self.rate:
            parts.append(f"{rate_text(self.rate)} {self.unit}/s")
        if self.seconds_left is not None:
            parts.append(f"{duration_text(self.seconds_left)} left")
        return f"{self.name}: {', '.join(parts)}"

    def finished(self) -> str:
        """`Embed: 2,624 images in 31 s, 84.3 images/s`, or the step's own line."""
        if self.line is not None:
            return f"{self.name}: {self.line}"
        took = duration_text(self.elapsed_seconds)
        if not self.done:
            return f"{self.name}: done in {took}"
        parts = [f"{count_text(self.done, self.unit)} in {took}", *self._failed()]
        if self.rate:
            parts.append(f"{rate_text(self.rate)} {self.unit}/s")
        return f"{self.name}: {', '.join(parts)}"

    def stopped(self) -> str:
        """`Embed: stopped after 512 images`."""
        return f"{self.name}: stopped after {count_text(self.done, self.unit)}"

    def _failed(self) -> list[str]:
        return [f"{self.failed:,} failed"] if self.failed else []


def settings_text(settings: Mapping[str, Any]) -> str:
    """`hidden 512 and 64, dropout 0.4`."""
    lists = {name: one for name, one in settings.items() if isinstance(one, list | tuple)}
    told = {**settings, **{name: " and ".join(map(str, one)) for name, one in lists.items()}}
    return ", ".join(f"{name} {value}" for name, value in told.items())


def count_text(count: int, unit: str) -> str:
    """`1 image`, `2,624 images`."""
    return f"{count:,} {unit.removesuffix('s') if count == 1 else unit}"


def rate_text(rate: float) -> str:
    """`0.25`, `84.3`, `48,200`: as many digits as a person reads."""
    if rate < 10:
        return f"{rate:.2f}"
    return f"{rate:.1f}" if rate < 100 else f"{rate:,.0f}"


def duration_text(seconds: float) -> str:
    """`0.4 s`, `31 s`, `4 min 10 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Silent:
    """Shows nothing: the default of every Python call."""

    @contextmanager
    def step(self, name: str, total: int | None, unit: str = "images") -> Iterator[Step]:
        """Show nothing."""
        yield Meter(name, total, unit)


SILENT = Silent()


class PlainProgress:
    """A line when a step begins to take long, then ever more rarely, and one when it is done."""

    def __init__(self, stream: TextIO | None = None, clock: Clock = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock

    @contextmanager
    def step(self, name: str, total: int | None, unit: str = "images") -> Iterator[Step]:
        """Print the step's lines."""
        step = _ReportingStep(Meter(name, total, unit, self._clock), self._underway)
        with _ending(step.meter, self._print):
            yield step

    def _underway(self, meter: Meter) -> None:
        self._print(meter.underway())

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class JsonProgress:
    """The same moments as `PlainProgress`, each as one JSON object on a line of its own."""

    def __init__(self, stream: TextIO | None = None, clock: Clock = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock

    @contextmanager
    def step(self, name: str, total: int | None, unit: str = "images") -> Iterator[Step]:
        """Print the step's events: `progress`, then `done` or `stopped`."""
        meter = Meter(name, total, unit, self._clock)
        try:
            yield _ReportingStep(meter, lambda meter: self._print("progress", meter))
        except BaseException:
            self._print("stopped", meter)
            raise
        self._print("done", meter)

    def _print(self, event: str, meter: Meter) -> None:
        record: dict[str, Any] = {
            "event": event,
            "step": meter.name,
            "unit": meter.unit,
            "total": meter.total,
            "done": meter.done,
            "failed": meter.failed,
            "elapsed_seconds": round(meter.elapsed_seconds, 3),
        }
        if event != "progress" and meter.line is not None:
            record["note"] = meter.line
        print(json.dumps(record, ensure_ascii=False), file=self._stream, flush=True)


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
            console.print(line, markup=False, soft_wrap=True)

        with _ending(meter, finish), _bars(console, unit, total) as bars:
            yield _BarStep(meter, bars, bars.add_task(name, total=total, trouble=""))


class _ReportingStep:
    """A step that is reported at growing intervals: 5 s at first, a minute at most."""

    def __init__(self, meter: Meter, report: Callable[[Meter], None]) -> None:
        self.meter = meter
        self._report = report
        self._next_report_seconds = FIRST_LINE_SECONDS
        self._lock = threading.Lock()

    def update(self, done: int, failed: int = 0) -> None:
        with self._lock:
            self.meter.update(done, failed)
            elapsed_seconds = self.meter.elapsed_seconds
            if elapsed_seconds >= self._next_report_seconds:
                silence = min(max(FIRST_LINE_SECONDS, elapsed_seconds), LONGEST_SILENCE_SECONDS)
                self._next_report_seconds = elapsed_seconds + silence
                self._report(self.meter)

    def note(self, line: str) -> None:
        self.meter.note(line)


class _BarStep:
    def __init__(self, meter: Meter, bars: Bars, task: TaskID) -> None:
        self._meter = meter
        self._bars = bars
        self._task = task

    def update(self, done: int, failed: int = 0) -> None:
        self._meter.update(done, failed)
        trouble = f"{failed:,} failed" if failed else ""
        self._bars.update(self._task, completed=done, trouble=trouble)

    def note(self, line: str) -> None:
        self._meter.note(line)


def _bars(console: Any, unit: str, total: int | None) -> Bars:
    from rich import progress

    class RateColumn(progress.ProgressColumn):
        def render(self, task: progress.Task) -> str:
            return f"{rate_text(task.speed)} {unit}/s" if task.speed else ""

    counts = [progress.MofNCompleteColumn(), RateColumn(), progress.TimeRemainingColumn()]
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        *([] if total is None else counts),
        progress.TextColumn("{task.fields[trouble]}", style="yellow"),
        console=console,
        transient=True,
        refresh_per_second=4,
    )


@contextmanager
def _ending(meter: Meter, finish: Callable[[str], None]) -> Iterator[None]:
    """Say the last line of a step; where it fails before anything is done, the error says it."""
    try:
        yield
    except BaseException:
        if meter.total is not None and meter.done:
            finish(meter.stopped())
        raise
    finish(meter.finished())
