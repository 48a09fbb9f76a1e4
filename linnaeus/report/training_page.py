"""The page of a training run."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError
from linnaeus.models import Model
from linnaeus.report import embedding_map, judgements
from linnaeus.report.confusion import Confusion, confusion
from linnaeus.report.curves import curves
from linnaeus.report.finished import FinishedRun
from linnaeus.report.judgements import Judgement, Judgements
from linnaeus.report.page import number, percent, render, settings_text
from linnaeus.report.thumbnails import Sheet, sheet, thumbnails
from linnaeus.storage import Folder
from linnaeus.tables import read_matrix

Fact = tuple[str, str]

HEAD_SETTINGS = 4
"""The first ones say most; the table of what was tried has all."""
SAMPLE, MISTAKES, LEAST_CERTAIN = 72, 36, 24


@dataclass(frozen=True)
class Tested:
    """What is shown of the test pictures."""

    verdicts: Mapping[str, int]
    sample: list[Judgement]
    mistakes: list[Judgement]
    least_certain: list[Judgement]

    @classmethod
    def of(cls, judged: Judgements) -> "Tested":
        """Pick it."""
        return cls(
            judged.verdicts(),
            judged.sample(SAMPLE),
            judged.mistakes(MISTAKES),
            judged.least_certain(LEAST_CERTAIN),
        )

    @property
    def uris(self) -> list[str]:
        """Every picture that is shown."""
        shown = [*self.sample, *self.mistakes, *self.least_certain]
        return [judgement.uri for judgement in shown]


@dataclass(frozen=True)
class Point:
    """A picture on the map: where, and the number of its (first) true label."""

    x: float
    y: float
    label: int
    judgement: Judgement


@dataclass(frozen=True)
class EmbeddingMap:
    """Pictures in the plane, and a tile of each."""

    points: list[Point]
    labels: list[str]
    """Those that a point has."""
    sheet: Sheet


def page(workspace: Folder, run: FinishedRun) -> str:
    """The whole page as HTML."""
    with judgements.of_training(run.home, run) as judged:
        tested = Tested.of(judged)
    with judgements.of_training(run.home, run, ("validation", "test")) as judged:
        mapped = judged.sample(embedding_map.POINTS)
    return render(
        "training.html",
        run=run,
        published=run.home.uri == workspace.uri,
        model=run.model,
        test=run.model.metrics["test"],
        facts=facts(run.model),
        tested=tested,
        confusion=_confusion(run.model),
        curves=curves(run.model.curve),
        tried=sorted(run.model.tried, key=_log_loss),
        map=_map(workspace, run, mapped),
        thumbnails=thumbnails(tested.uris),
    )


def _log_loss(tried: Mapping[str, Any]) -> float:
    """For sorting; what has none comes last."""
    loss: float = tried["validation_log_loss"]
    return math.inf if math.isnan(loss) else loss


def _confusion(model: Model) -> Confusion | None:
    if model.task == "multi":
        return None
    return confusion(model.labels, model.metrics["test"]["confusion"])


def _map(workspace: Folder, run: FinishedRun, mapped: list[Judgement]) -> EmbeddingMap | None:
    """None where the embeddings are gone."""
    if not mapped:
        return None
    try:
        digests = [judgement.sha256 for judgement in mapped]
        embeddings = read_matrix(workspace, run.model.fingerprint, digests)
    except ConfigurationError:
        return None
    positions = embedding_map.layout_map(embeddings)
    labels = sorted({_map_label(judgement) for judgement in mapped})
    return EmbeddingMap(
        _points(positions, mapped, labels), labels, sheet([one.uri for one in mapped])
    )


def _points(
    positions: NDArray[np.float64], mapped: list[Judgement], labels: list[str]
) -> list[Point]:
    numbers = {label: number for number, label in enumerate(labels)}
    return [
        Point(x, y, numbers[_map_label(judgement)], judgement)
        for (x, y), judgement in zip(positions.tolist(), mapped, strict=True)
    ]


def _map_label(judgement: Judgement) -> str:
    return judgement.truth[0] if judgement.truth else "no label"


def facts(model: Model) -> list[Fact]:
    """Names and values: what the model is made of, and every figure of its test."""
    labels = f"{len(model.labels):,}"
    found = [("Labels", labels), ("Backbone", _backbone(model)), *_images(model)]
    return [*found, *_chosen(model), *_figures(model.metrics["test"])]


def _backbone(model: Model) -> str:
    backbone = model.backbone
    precision = "" if backbone.precision == "float32" else f", {backbone.precision}"
    return f"{backbone.name} ({backbone.embedding_size:,} numbers a picture{precision})"


def _images(model: Model) -> Iterator[Fact]:
    counts = model.data.get("images") or {}
    if counts:
        yield "Pictures", ", ".join(f"{count:,} {split}" for split, count in counts.items())
    left_out = model.data.get("left_out") or {}
    if left_out:
        yield "Left out", ", ".join(f"{count:,} {why}" for why, count in left_out.items())
    if found := (model.data.get("near_duplicates") or {}).get("found"):
        yield "Near duplicates", f"{found:,} held-out, of pictures of another split"


def _chosen(model: Model) -> Iterator[Fact]:
    chosen = model.hyperparameters.get("chosen") or {}
    plain = [(name, value) for name, value in chosen.items() if not isinstance(value, Mapping)]
    if plain:
        yield "Head", settings_text(dict(plain[:HEAD_SETTINGS])).removeprefix("head ")


def _figures(test: Mapping[str, Any]) -> Iterator[Fact]:
    if "top_k" in test and test["top_k"]["k"] < len(test["classes"]):
        yield f"In the best {test['top_k']['k']} of the test", percent(test["top_k"]["accuracy"])
    for kind in ("macro", "micro"):
        if kind in test:
            yield f"F1 of the test ({kind})", number(test[kind]["f1"])
    yield "Log loss of the test", number(test["log_loss"])
    yield "Calibration error of the test", percent(test["calibration"]["error"])
