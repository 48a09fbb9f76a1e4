"""Counts, rates, durations and sizes in words."""

from collections.abc import Mapping, Sequence
from typing import Any


def settings_text(settings: Mapping[str, Any]) -> str:
    """`hidden 512 and 64, dropout 0.4`."""
    lists = {name: one for name, one in settings.items() if isinstance(one, list | tuple)}
    told = {**settings, **{name: " and ".join(map(str, one)) for name, one in lists.items()}}
    return ", ".join(f"{name} {value}" for name, value in told.items())


def names_text(names: Sequence[str], shown: int = 20) -> str:
    """`'bird', 'cat'`, and how many more there are where all would fill the terminal."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(map(repr, names[:shown])) + more


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


def bytes_text(count: int) -> str:
    """`512 B`, `1.2 GB`: decimal units, as object stores bill them."""
    if count < 1000:
        return f"{count} B"
    amount, units = float(count), iter("kMGTPE")
    unit = ""
    while amount >= 999.5:
        amount, unit = amount / 1000, next(units)
    return f"{amount:.0f} {unit}B" if amount >= 10 else f"{amount:.1f} {unit}B"
