"""Counts and time of a step that a person waits for, and how to say them in words."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from linnaeus.progress.wording import bytes_text, count_text, duration_text, rate_text

Clock = Callable[[], float]

AT_MOST = " at most"
"""Ends the unit of a step that may be over before its total is done."""


@dataclass(frozen=True)
class Figures:
    """What a job knows of a step better than its meter, which counts from the step's beginning."""

    units_per_second: float | None = None
    """Lately; None where nothing was done lately."""
    seconds_left: float | None = None
    bytes_read: int = 0
    cache_hits: int = 0
    """Units that were done without computing anything."""


@dataclass
class Meter:
    """Counts and time of one step, and how to say them in words."""

    name: str
    total: int | None
    unit: str
    clock: Clock = time.monotonic
    done: int = 0
    failed: int = 0
    figures: Figures | None = None
    line: str | None = None

    def __post_init__(self) -> None:
        self.started = self.clock()

    def update(self, done: int, failed: int = 0, figures: Figures | None = None) -> None:
        """Take over absolute counts, and figures that replace the meter's own."""
        self.done, self.failed, self.figures = done, failed, figures

    def note(self, line: str) -> None:
        """Keep the line for the end."""
        self.line = line

    def warn(self, line: str) -> None:
        """Nobody is told."""

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the step began."""
        return self.clock() - self.started

    @property
    def rate(self) -> float | None:
        """Units a second, or `None` before anything is done."""
        if self.figures:
            return self.figures.units_per_second
        return self.done / self.elapsed_seconds if self.done and self.elapsed_seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the rate so far, or `None` where that cannot be said."""
        if self.figures:
            return self.figures.seconds_left
        if self.total is None or not self.rate:
            return None
        return max(0.0, self.total - self.done) / self.rate

    def underway(self) -> str:
        """`Embed: 512 of 2,624 images, 84.3 images/s, 25 s left`."""
        of_total = "" if self.total is None else f"{self.done:,} of "
        counted = self.done if self.total is None else self.total
        return (
            f"{self.name}: {', '.join([of_total + count_text(counted, self.unit), *self.facts()])}"
        )

    def facts(self) -> list[str]:
        """What is known besides the count, what matters most first."""
        facts = self._failed()
        if self.rate:
            facts.append(f"{rate_text(self.rate)} {self._done_unit}/s")
        if self.seconds_left is not None:
            bound = self.unit.removeprefix(self._done_unit)
            facts.append(f"{duration_text(self.seconds_left)} left{bound}")
        if self.figures and self.figures.bytes_read:
            facts.append(f"{bytes_text(self.figures.bytes_read)} read")
        if self.figures and self.figures.cache_hits:
            facts.append(f"{self.figures.cache_hits:,} from cache")
        return facts

    def finished(self) -> str:
        """`Embed: 2,624 images in 31 s, 84.3 images/s`, or the step's own line."""
        if self.line is not None:
            return f"{self.name}: {self.line}"
        took = duration_text(self.elapsed_seconds)
        if not self.done:
            return f"{self.name}: done in {took}"
        parts = [f"{count_text(self.done, self._done_unit)} in {took}", *self._failed()]
        if self.rate:
            parts.append(f"{rate_text(self.rate)} {self._done_unit}/s")
        return f"{self.name}: {', '.join(parts)}"

    def stopped(self) -> str:
        """`Embed: stopped after 512 images`."""
        return f"{self.name}: stopped after {count_text(self.done, self._done_unit)}"

    @property
    def _done_unit(self) -> str:
        return self.unit.removesuffix(AT_MOST)

    def _failed(self) -> list[str]:
        return [f"{self.failed:,} failed"] if self.failed else []
