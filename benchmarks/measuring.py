"""How a measurement is taken: warmed up once, then as often as it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

Readings = dict[str, float]
"""Values by the keys of the report's rows."""
Measure = Callable[[], Readings]

WARM_UP = 32


def rate_of(key: str, work: Callable[[Sequence[T]], object], items: Sequence[T]) -> Measure:
    """Items a second of `work`, warmed up with the first of them."""
    work(items[:WARM_UP])
    return lambda: {key: len(items) / seconds_of(lambda: work(items))}


def job_rate(key: str, seconds: Callable[[int], float], few: int, many: int) -> Measure:
    """Rate and start-up of a job, of which `seconds(n)` is the whole time for n objects.

    The time of a job is taken as start-up + n / rate, and measured for few and for many.
    """
    seconds(few)

    def measure() -> Readings:
        few_seconds, many_seconds = seconds(few), seconds(many)
        rate = (many - few) / (many_seconds - few_seconds)
        return {key: rate, f"{key}-start": few_seconds - few / rate}

    return measure


def seconds_of(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_megabytes() -> float:
    """The most memory that this process has held so far (`VmHWM`), in 10^6 bytes."""
    status = Path("/proc/self/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kibibytes) * 1024 / 1e6
