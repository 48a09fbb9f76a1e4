"""Each measurement in a process of its own, so that no two share thread pools or memory.

The parent starts `python -m benchmarks.processes NAME SETTING`, waits for `ready`, and then asks
for one reading a line. Between its readings a child waits and costs no processor time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from benchmarks.catalogue import MEASUREMENTS
from benchmarks.measuring import Readings
from benchmarks.setting import Setting, set_up

READY = "ready"
SET_UP = "set-up"


class Child:
    """A running child that has made ready."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log
        self._receive()

    def measure(self) -> Readings:
        """One reading, now."""
        assert self._process.stdin is not None
        self._process.stdin.write("measure\n")
        self._process.stdin.flush()
        readings: Readings = json.loads(self._receive())
        return readings

    def _receive(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            last = self._log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"{self._log.stem} failed ({last}); see {self._log}")
        return line


@contextmanager
def start(name: str, setting: Setting) -> Iterator[Child]:
    """Start a measurement's process and wait until it is ready."""
    command = [sys.executable, "-m", "benchmarks.processes", name, json.dumps(asdict(setting))]
    log = Path(setting.data) / f"{name}.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,  # closes its input in the end, at which it ends, and waits
    ):
        yield Child(process, log)


def measure_once(name: str, setting: Setting) -> Readings:
    """One reading from a new process."""
    with start(name, setting) as child:
        return child.measure()


def _serve(name: str, setting: Setting, commands: IO[str], answers: IO[str]) -> None:
    """A child's life: make ready, say so, and measure whenever a line comes."""
    if name == SET_UP:
        set_up(setting)
    else:
        measure = MEASUREMENTS[name].prepare(setting)
    print(READY, file=answers, flush=True)
    for _ in commands:
        print(json.dumps(measure()), file=answers, flush=True)


def _main() -> None:
    name, setting = sys.argv[1:]
    # What libraries print must not come between the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        _serve(name, Setting(**json.loads(setting)), sys.stdin, answers)


if __name__ == "__main__":
    _main()
