"""Writes a published model as TFLite files, each tested on pictures after its conversion."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.documents import Document
from linnaeus.manifests import Manifest
from linnaeus.models import Model
from linnaeus.process import processors
from linnaeus.progress import SILENT, Progress
from linnaeus.signatures import PIXELS, SCORES
from linnaeus.storage import Folder
from linnaeus.training.evaluation.decisions import DecisionRule
from linnaeus.training.exporting.published import PublishedModel, opened
from linnaeus.training.tflite import pictures as tflite_pictures
from linnaeus.training.tflite.conversion import KINDS, Source, check_kind, convert
from linnaeus.training.tflite.pictures import LabelledPictures, Pixels

DESCRIPTION = "tflite.json"
TOLERATED_POINTS = 2.0
"""Percentage points of accuracy; a file that loses more is warned of."""
PICTURES_AT_ONCE = 32

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Export:
    """Where to, a folder or URI, and which of `KINDS`."""

    output: str
    kinds: Sequence[str] = KINDS

    def __post_init__(self) -> None:
        for kind in self.kinds:
            check_kind(kind)


@dataclass(frozen=True)
class SmallModel:
    """A TFLite file and how good it is."""

    kind: str
    uri: str
    size_bytes: int
    accuracy: float
    points_lost: float
    """Percentage points below the SavedModel on the same pictures; negative where above."""
    falls_short: bool
    """Whether it lost more than `TOLERATED_POINTS`."""


@dataclass(frozen=True)
class SmallModels(Document, indent=2):
    """What an export wrote; `tflite.json` beside the files says the same."""

    model: str
    task: str
    labels: tuple[str, ...]
    thresholds: dict[str, Any]
    height: int
    width: int
    calibration_images: int
    test_images: int
    accuracy: float
    """The SavedModel's, on the pictures that every file was tested on."""
    size_bytes: int
    """The SavedModel's graph and weights."""
    files: tuple[SmallModel, ...]


@dataclass(frozen=True)
class _Bench:
    """What every file of one export is made from and measured by."""

    model: Model
    source: Source
    calibration: Pixels
    test: LabelledPictures
    accuracy: float


def export_tflite(
    workspace: Folder, manifest: Manifest, model: Model, export: Export, progress: Progress = SILENT
) -> SmallModels:
    """Convert a published model, test every file, and write it together with its figures.

    int8 is calibrated on some training images of the manifest, and every file is tested on some
    of its test images; see `linnaeus.training.tflite.pictures`.

    Raises:
        ConfigurationError: If the model cannot be converted, or the manifest has no images to
            calibrate and test on, or has a label that the model does not know.
        StorageError: If the images or the output cannot be reached.
    """
    output = Folder(export.output)
    with progress.step("Read pictures", None):
        calibration, test = tflite_pictures.read(workspace, manifest, model)
    with opened(workspace, model) as published:
        with progress.step("Test the SavedModel", None):
            test_scores = published.scores(test.pixels, PIXELS, PICTURES_AT_ONCE)
            right = accuracy(test_scores, test, model)
        bench = _Bench(model, _source(published, model), calibration.pixels, test, right)
        files = tuple(_file(bench, kind, output, progress) for kind in export.kinds)
        made = _summary(bench, files)
    output.write(DESCRIPTION, made.to_json().encode())
    return made


def scores(file: bytes, pixels: Pixels) -> Scores:
    """What a TFLite file gives for pictures `[n, H, W, 3]`: `[n, C]`."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_content=file, num_threads=processors()).get_signature_runner()
    return np.concatenate([run(pixels=one[np.newaxis])[SCORES] for one in pixels])


def accuracy(scores: Scores, pictures: LabelledPictures, model: Model) -> float:
    """The share of pictures whose best label is theirs; with several, whose labels are all right.

    Args:
        scores: `[n, C]`, in the order of the model's labels.
        pictures: n of them.
        model: its task, and for several labels a picture its thresholds.
    """
    if model.task == "multi":
        return float((DecisionRule.of(model).chosen(scores) == pictures.truth).all(axis=1).mean())
    best = scores.argmax(axis=1)
    return float(pictures.truth[np.arange(len(best)), best].mean())


def _source(published: PublishedModel, model: Model) -> Source:
    backbone = model.backbone
    return Source(published.folder, backbone.height, backbone.width, model.labels, model.name)


def _file(bench: _Bench, kind: str, output: Folder, progress: Progress) -> SmallModel:
    with progress.step(f"Convert to {kind} and test", None):
        data = convert(bench.source, kind, bench.calibration)
        right = accuracy(scores(data, bench.test.pixels), bench.test, bench.model)
    name = f"{bench.model.name}-{kind}.tflite"
    output.write(name, data)
    lost = 100 * (bench.accuracy - right)
    return SmallModel(kind, output.uri_of(name), len(data), right, lost, lost > TOLERATED_POINTS)


def _summary(bench: _Bench, files: tuple[SmallModel, ...]) -> SmallModels:
    model = bench.model
    return SmallModels(
        model=f"{model.name}:{model.version}",
        task=model.task,
        labels=model.labels,
        thresholds=dict(model.thresholds),
        height=model.backbone.height,
        width=model.backbone.width,
        calibration_images=len(bench.calibration),
        test_images=len(bench.test.pixels),
        accuracy=bench.accuracy,
        size_bytes=_size_bytes(bench.source.folder),
        files=files,
    )


def _size_bytes(saved_model: Path) -> int:
    parts = [saved_model / "saved_model.pb", *(saved_model / "variables").iterdir()]
    return sum(part.stat().st_size for part in parts)
