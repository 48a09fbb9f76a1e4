"""What each payload of the scoring job costs: on the wire, on the worker and on the server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Measure, Readings
from benchmarks.scoring import KEYS, from_images
from benchmarks.setting import Setting


def payload(setting: Setting, name: str) -> Measure:
    """Rows/s of new pictures with a payload; CPU time and bytes of a row."""
    measure_rate = from_images(setting, name)
    rows = setting.few + setting.images

    def measure() -> Readings:
        worker, server = time.process_time(), _children_seconds()
        readings = measure_rate()
        spent = {
            "worker-cpu": time.process_time() - worker,
            "server-cpu": _children_seconds() - server,
        }
        key = KEYS[name]
        milliseconds = {f"{key}-{who}": 1000 * s / rows for who, s in spent.items()}
        return {**readings, **milliseconds, f"{key}-bytes": _row_bytes(setting, name)}

    return measure


def _row_bytes(setting: Setting, name: str) -> float:
    spec = setting.spec()
    if name == "image":
        files = setting.files()
        return sum(path.stat().st_size for path in files) / len(files)
    return {"embedding": 4 * spec.embedding_size, "pixels": 3 * spec.height * spec.width}[name]


def _children_seconds() -> float:
    """Processor time of this process's living children: the server, for its is the only one."""
    ticks = sum(sum(map(int, fields[11:13])) for fields in _children_fields())
    return ticks / os.sysconf("SC_CLK_TCK")


def _children_fields() -> Iterator[list[str]]:
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            yield Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
