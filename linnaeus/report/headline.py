"""What a page says of a model and its run in a few words."""

from collections.abc import Iterator, Mapping
from typing import Any

from linnaeus.models import Model
from linnaeus.report.page import number, percent, settings_text

Fact = tuple[str, str]

HEAD_SETTINGS = 4
"""The first ones say most; the table of what was tried has all."""


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
