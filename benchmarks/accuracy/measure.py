"""Takes a row by the product's own steps: place, embed, train; the model says what it reached."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.accuracy.rows import Row, settings
from benchmarks.accuracy.splits import write_split
from linnaeus.datasets import DATASETS, place
from linnaeus.progress import Progress
from linnaeus.training.config import TrainConfig
from linnaeus.workspace import Workspace


@dataclass(frozen=True)
class Trained:
    """One training of a row."""

    seed: int
    accuracy: float
    """On the test images, each counting once."""
    validation_accuracy: float
    test_images: int
    train_seconds: float
    """Views of training pictures, fine-tuning, test and export are in it."""
    chosen: dict[str, Any]
    """The head, and what validation chose of it."""


@dataclass(frozen=True)
class Result:
    """What a row came to."""

    row: Row
    embed_seconds: float
    """Next to nothing where the pictures were embedded by an earlier run."""
    trained: tuple[Trained, ...]

    @property
    def accuracy(self) -> float:
        """The mean over the seeds."""
        return fmean(one.accuracy for one in self.trained)

    @property
    def deviation(self) -> float:
        """The standard deviation of one training's accuracy; 0 where there is but one."""
        return stdev(one.accuracy for one in self.trained) if len(self.trained) > 1 else 0.0

    @property
    def seconds(self) -> float:
        """Of everything but placing the pictures."""
        return self.embed_seconds + sum(one.train_seconds for one in self.trained)

    def to_dict(self) -> dict[str, Any]:
        """As the JSON file has it."""
        return {
            "name": self.row.name,
            "accuracy": self.accuracy,
            "deviation": self.deviation,
            "goal": self.row.goal,
            "met": self.row.met(self.accuracy),
            "seconds": self.seconds,
            "embed_seconds": self.embed_seconds,
            "seeds_draw": self.row.seeds,
            "settings": settings(self.row.config),
            "trained": [asdict(one) for one in self.trained],
        }


def measure(row: Row, seeds: int, data: Path, progress: Progress) -> Result:
    """Train and test a model for each seed; `data` keeps pictures and embeddings between runs."""
    dataset = DATASETS[row.dataset]
    manifest = place(dataset.samples, data / dataset.name, dataset.images, progress)
    workspace = Workspace(str(data / "workspace"), progress)
    began = time.perf_counter()
    workspace.embed(str(manifest), row.config.backbone)
    embedded = time.perf_counter() - began
    trained = []
    for seed in range(seeds):
        trained.append(_train(workspace, manifest, row, seed))
        with progress.step(f"{row.name}, seed {seed}", None) as step:
            step.note(f"{trained[-1].accuracy:.2%} right, {trained[-1].train_seconds:,.0f} s")
    return Result(row, embedded, tuple(trained))


def _train(workspace: Workspace, manifest: Path, row: Row, seed: int) -> Trained:
    images, config = _drawn(manifest, row, seed)
    began = time.perf_counter()
    model = workspace.train(str(images), row.name, config)
    seconds = time.perf_counter() - began
    test, validation = model.metrics["test"], model.metrics["validation"]
    return Trained(
        seed=seed,
        accuracy=test["accuracy"],
        validation_accuracy=validation["accuracy"],
        test_images=test["images"],
        train_seconds=seconds,
        chosen=model.hyperparameters["chosen"],
    )


def _drawn(manifest: Path, row: Row, seed: int) -> tuple[Path, TrainConfig]:
    """The manifest and the settings of a seed.

    The settings stay where the split changes: views of a picture are decided by their seed, too,
    and are embedded once.
    """
    if row.seeds == "split":
        return write_split(manifest, seed), row.config
    return manifest, replace(row.config, seed=seed)
