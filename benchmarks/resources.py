"""Memory and time of whole jobs; each measurement wants a process of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import stored
from benchmarks.measuring import Measure, Readings, peak_megabytes
from benchmarks.setting import BACKBONE, Setting, fresh_workspace
from linnaeus.progress import SILENT, Step
from linnaeus.workspace import Workspace
from training.config import TrainConfig


def worker_memory(setting: Setting) -> Measure:
    """Peak memory of a process that lists, embeds and commits, and never imports TensorFlow."""

    def measure() -> Readings:
        with fresh_workspace(setting) as workspace:
            Workspace(workspace.uri).embed(str(setting.pictures), BACKBONE)
        assert "tensorflow" not in sys.modules
        return {"worker-memory": peak_megabytes()}

    return measure


def training(setting: Setting) -> Measure:
    """Time and peak memory of `train` over stored embeddings, TensorFlow's import included."""
    rows = stored.make(setting)

    def measure() -> Readings:
        steps = StepSeconds()
        started = time.perf_counter()
        with fresh_workspace(setting, rows.tables) as workspace:
            images = str(rows.manifest(setting.stored))
            Workspace(workspace.uri, steps).train(images, "head", TrainConfig(backbone=BACKBONE))
            seconds = time.perf_counter() - started
        return {
            "training": seconds,
            "training-fit": steps.seconds["Train"],
            "training-memory": peak_megabytes(),
        }

    return measure


class StepSeconds:
    """A `Progress` that shows nothing and keeps how long each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, total: int | None, unit: str = "images") -> Iterator[Step]:
        """Time a step."""
        started = time.perf_counter()
        with SILENT.step(name, total, unit) as step:
            yield step
        self.seconds[name] = time.perf_counter() - started
