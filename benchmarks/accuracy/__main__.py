"""Measure accuracy: train and test models of known pictures, print a table, save it as JSON.

    python -m benchmarks.accuracy [--only NAME ...] [--seeds N] [--json PATH]

Solar cells and digits are split anew for each seed: a quarter is held out, of every kind its share;
the solar cells so by the protocol of Deitsch et al. (Solar Energy 2019). MNIST has its own test
images, and the seeds are the training's. What a training chooses, it chooses by validation images,
which a hash takes out of the training images.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import machine
from benchmarks.accuracy import report
from benchmarks.accuracy.measure import measure
from benchmarks.accuracy.rows import ROWS
from linnaeus.process import silence_libraries
from linnaeus.progress.steps import PlainProgress

WIDTH = 130
"""Of the table, in columns, where it is not shown on a terminal."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the arguments ask for."""
    options = _parser().parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    facts = machine.facts() | {"seeds": options.seeds}
    results = []
    for name in options.only or ROWS:
        console.print(f"[bold]{name}[/bold]")
        results.append(measure(ROWS[name], options.seeds, options.data, PlainProgress()))
        saved = json.dumps(report.as_json(results, facts), indent=1)
        options.json.write_text(saved + "\n", "utf-8")
    report.show(results, console)
    console.print(f"Saved as {options.json}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = Path(tempfile.gettempdir()) / "linnaeus-accuracy"
    parser.add_argument("--only", action="append", choices=ROWS, help="may be repeated")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each row (5)")
    parser.add_argument("--json", type=Path, default=Path("accuracy-results.json"))
    parser.add_argument(
        "--data", type=Path, default=data, help=f"pictures and workspace, kept ({data})"
    )
    return parser


if __name__ == "__main__":
    silence_libraries()
    main()
