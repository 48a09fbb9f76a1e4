"""Where values lie on a chart, in the units of its drawing, and which round values are marked."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """A round value, where it lies and how it is written."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A linear scale: `low` lies at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies; the middle where the scale has no extent."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def marks(self, most: int = 5) -> list[Mark]:
        """At most `most` + 1 multiples of 1, 2 or 5 times a power of ten, within the scale."""
        if self.high <= self.low:
            return [Mark(self.at(self.low), f"{self.low:g}")]
        step = round_step((self.high - self.low) / most)
        numbers = self._numbers(step)
        if not numbers:  # as between 1 and 4 for a step of 5
            step = round_step(0.4 * step)
            numbers = self._numbers(step)
        values = [round(number * step, 12) for number in numbers]
        return [Mark(self.at(value), f"{value:g}") for value in values]

    def _numbers(self, step: float) -> range:
        """The multiples of a step within the scale, counted in steps."""
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return range(first, last + 1)


def round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below `least`, above 0."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least * (1 - 1e-9))
