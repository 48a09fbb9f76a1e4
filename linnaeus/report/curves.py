"""Training curves: what was lost and hit at each step, as lines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from linnaeus.report.axes import Axis

LEFT, RIGHT, TOP, BOTTOM = 44.0, 350.0, 12.0, 204.0
QUANTITIES = ("loss", "accuracy")
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Dot:
    """A value of a line: where it lies, and what it says in words."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """One split's values."""

    split: str
    dots: tuple[Dot, ...]

    @property
    def points(self) -> str:
        """As a polyline has them."""
        return " ".join(f"{dot.x},{dot.y}" for dot in self.dots)


@dataclass(frozen=True)
class Curves:
    """One quantity over the steps, a line a split."""

    quantity: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]


def curves(points: Sequence[Mapping[str, Any]]) -> list[Curves]:
    """A chart for each quantity that was noted at two steps or more."""
    charts = (_curves(quantity, points) for quantity in QUANTITIES)
    return [chart for chart in charts if any(len(line.dots) > 1 for line in chart.lines)]


def _curves(quantity: str, points: Sequence[Mapping[str, Any]]) -> Curves:
    noted = {split: _noted(points, f"{split}_{quantity}") for split in SPLITS}
    steps = [step for values in noted.values() for step, _ in values] or [0]
    heights = [value for values in noted.values() for _, value in values] or [0.0]
    low, high = min(heights), max(heights)
    margin = (high - low) * 0.05
    x = Axis(min(steps), max(steps), LEFT, RIGHT)
    y = Axis(low - margin, high + margin, BOTTOM, TOP)
    lines = tuple(
        Line(split, tuple(_dot(split, step, value, x, y) for step, value in values))
        for split, values in noted.items()
        if values
    )
    return Curves(quantity, x, y, lines)


def _noted(points: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    values = ((point["step"], point.get(name)) for point in points)
    return [(step, value) for step, value in values if value is not None and math.isfinite(value)]


def _dot(split: str, step: int, value: float, x: Axis, y: Axis) -> Dot:
    return Dot(x.at(step), y.at(value), f"step {step:,}, {split}: {value:.4g}")
