"""Memory and time of whole jobs; each measurement wants a process of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from benchmarks import stored
from benchmarks.measuring import Measure, Readings, peak_megabytes
from benchmarks.setting import BACKBONE, Setting, fresh_workspace
from linnaeus.choices import HeadKind
from linnaeus.progress import SILENT, Step
from linnaeus.training.config import TrainConfig
from linnaeus.workspace import Workspace


def worker_memory(setting: Setting) -> Measure:
    """Peak memory of a process that lists, embeds and commits, and never imports TensorFlow."""

    def measure() -> Readings:
        with fresh_workspace(setting) as workspace:
            Workspace(workspace.uri).embed(str(setting.pictures), BACKBONE)
        assert "tensorflow" not in sys.modules
        return {"worker-memory": peak_megabytes()}

    return measure


def training(setting: Setting, head: HeadKind) -> Measure:
    """Time and peak memory of `train` over stored embeddings, TensorFlow's import included."""
    return _training(setting, head, "training" if head == "auto" else f"training-{head}")


def training_million(setting: Setting) -> Measure:
    """The same for one linear head on a million embeddings: 5 GB of them, and as much scratch."""
    return _training(replace(setting, stored=1_000_000), "linear", "training-million")


def _training(setting: Setting, head: HeadKind, key: str) -> Measure:
    rows = stored.make(setting)
    config = TrainConfig(backbone=BACKBONE, head=head)

    def measure() -> Readings:
        steps = StepSeconds()
        started = time.perf_counter()
        with fresh_workspace(setting, rows.tables) as workspace:
            images = str(rows.manifest(setting.stored))
            Workspace(workspace.uri, steps).train(images, "head", config)
            seconds = time.perf_counter() - started
        return {
            key: seconds,
            f"{key}-fit": steps.seconds["Train"],
            f"{key}-memory": peak_megabytes(),
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
