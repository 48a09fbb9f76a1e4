"""How a job tells a person, or a machine, how far it is.

Three renderings share `wording`: a bar on a terminal, plain lines elsewhere, JSON lines for
machines. All of them write to standard error, so that standard output carries results only.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TextIO

from linnaeus.plain_text import plain, plain_json
from linnaeus.progress.meter import Clock, Figures, Meter
from linnaeus.progress.protocols import Progress, Step, ending

FIRST_LINE_SECONDS = 5.0

LONGEST_SILENCE_SECONDS = 60.0


def for_stream(stream: TextIO, *, as_json: bool = False) -> Progress:
    """The rendering that fits: JSON if asked for, a bar on a terminal, else plain lines."""
    if as_json:
        return JsonProgress(stream)
    if not stream.isatty():
        return PlainProgress(stream)
    from linnaeus.progress.bar import RichProgress

    return RichProgress(stream)


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
        meter = Meter(name, total, unit, self._clock)
        step = _ReportingStep(meter, self._underway, self._print)
        with ending(step.meter, self._print):
            yield step

    def _underway(self, meter: Meter) -> None:
        self._print(meter.underway())

    def _print(self, line: str) -> None:
        print(plain(line), file=self._stream, flush=True)


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
            yield _ReportingStep(meter, lambda meter: self._print("progress", meter), self._warn)
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
        if meter.figures:
            record |= asdict(meter.figures)
        if event != "progress" and meter.line is not None:
            record["note"] = meter.line
        self._write(record)

    def _warn(self, line: str) -> None:
        self._write({"event": "warning", "message": line})

    def _write(self, record: dict[str, Any]) -> None:
        print(plain_json(record), file=self._stream, flush=True)


class _ReportingStep:
    """A step that is reported at growing intervals: 5 s at first, a minute at most."""

    def __init__(
        self, meter: Meter, report: Callable[[Meter], None], warn: Callable[[str], None]
    ) -> None:
        self.meter = meter
        self.warn = warn
        self._report = report
        self._next_report_seconds = FIRST_LINE_SECONDS
        self._lock = threading.Lock()

    def update(self, done: int, failed: int = 0, figures: Figures | None = None) -> None:
        with self._lock:
            self.meter.update(done, failed, figures)
            elapsed_seconds = self.meter.elapsed_seconds
            if elapsed_seconds >= self._next_report_seconds:
                silence = min(max(FIRST_LINE_SECONDS, elapsed_seconds), LONGEST_SILENCE_SECONDS)
                self._next_report_seconds = elapsed_seconds + silence
                self._report(self.meter)

    def note(self, line: str) -> None:
        self.meter.note(line)
