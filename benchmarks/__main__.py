"""Measure speed: print a table with the goals, and save everything as JSON.

    python -m benchmarks [--images N] [--rounds R] [--only NAME ...] [--json PATH]

Each measurement has a process of its own with all processors, is warmed up, and is taken once a
round, in turn. Files come from the page cache. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks import machine, report
from benchmarks.catalogue import MEASUREMENTS
from benchmarks.measuring import Readings
from benchmarks.processes import SET_UP, Child, measure_once, start
from benchmarks.setting import Setting, precisions

WIDTH = 130
"""Of the table, in columns, where it is not shown on a terminal."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the arguments ask for."""
    options = _parser().parse_args(argv)
    setting = Setting(str(Path(options.data).absolute()), options.images, options.stored)
    facts = machine.facts() | {"setting": asdict(setting)}
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(
        f"{facts['processor']}, {facts['processors']} processors, "
        f"load average {facts['load_average']:.1f}"
    )
    rounds = measure(options.only or available(), setting, options.rounds, console)
    report.show(rounds, console)
    saved = json.dumps(report.as_json(rounds, facts), indent=1)
    options.json.write_text(saved + "\n", "utf-8")
    console.print(f"Saved as {options.json}")


def available() -> list[str]:
    """Every measurement that this processor can take and that need not be named."""
    unusable = {"bfloat16"}.difference(precisions())
    return [
        name
        for name, found in MEASUREMENTS.items()
        if unusable.isdisjoint(found.arguments) and not found.on_demand
    ]


def measure(
    names: Sequence[str], setting: Setting, rounds: int, console: Console
) -> list[Readings]:
    """The readings of each round."""
    Path(setting.data).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        console.print("Make pictures, backbones and a model, where they are missing")
        with start(SET_UP, setting):
            pass
        children: dict[str, Child] = {}
        for name in names:
            if not MEASUREMENTS[name].fresh:
                console.print(f"Warm up {name}")
                children[name] = stack.enter_context(start(name, setting))
        return [_round(names, setting, children, console) for _ in range(rounds)]


def _round(
    names: Sequence[str], setting: Setting, children: dict[str, Child], console: Console
) -> Readings:
    readings: Readings = {}
    for name in names:
        child = children.get(name)
        found = child.measure() if child else measure_once(name, setting)
        console.print(", ".join(f"{key} {value:,.4g}" for key, value in found.items()))
        readings |= found
    return report.with_limits(readings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = Path(tempfile.gettempdir()) / "linnaeus-benchmarks"
    parser.add_argument("--images", type=int, default=2_000, help="pictures (2000)")
    parser.add_argument("--stored", type=int, default=100_000, help="stored vectors (100000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, help="may be repeated")
    parser.add_argument("--json", type=Path, default=Path("bench-results.json"))
    parser.add_argument("--data", default=str(data), help=f"kept between runs ({data})")
    return parser


if __name__ == "__main__":
    main()
