"""A workflow run's numbers by name, unit and labels, whatever system takes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from linnaeus.workflow.summary.summary import Ending, Summary

ENDINGS: tuple[Ending, ...] = ("done", "failed", "refused")
SECONDS, BYTES, RATIO, TIMESTAMP, NUMBER = "seconds", "bytes", "ratio", "timestamp_seconds", ""
"""Units, as the names of Prometheus end in them."""


@dataclass(frozen=True)
class Measurement:
    """One number of a workflow run, or several that differ by a label."""

    name: str
    unit: str
    help: str
    values: Mapping[str, float]
    """By the value of the label; of one number without a label by ""."""
    label: str = ""
    more: Mapping[str, str] = field(default_factory=dict)
    """Labels of all values."""

    @property
    def prometheus_name(self) -> str:
        """`linnaeus_workflow_run_churn_ratio`."""
        return "_".join(part for part in ("linnaeus_workflow_run", self.name, self.unit) if part)

    @property
    def otel_name(self) -> str:
        """`linnaeus.workflow_run.churn`: units stand beside OpenTelemetry's names."""
        return f"linnaeus.workflow_run.{self.name}"

    def labels(self, value: str) -> dict[str, str]:
        """The labels of one of the values."""
        return {**self.more, **({self.label: value} if self.label else {})}


def measurements(summary: Summary) -> list[Measurement]:
    """All numbers of a workflow run; what was not measured is left out."""
    measured = [*_of_time(summary), *_of_images(summary), *_of_model(summary), *_of_drift(summary)]
    return [one for one in measured if one.values]


def _of_time(summary: Summary) -> Iterator[Measurement]:
    endings: dict[str, float] = {ending: float(ending == summary.status) for ending in ENDINGS}
    yield Measurement("status", NUMBER, "1 for how the last run ended.", endings, "status")
    finished = _one(_seconds(summary.finished_at))
    yield Measurement("finished", TIMESTAMP, "When the last run ended.", finished)
    success = summary.last_success_at
    last = _one(_seconds(success) if success else None)
    yield Measurement("last_success", TIMESTAMP, "When a workflow run last ended well.", last)
    yield Measurement("duration", SECONDS, "How long the run took.", _one(summary.seconds))
    steps = {step.name: step.seconds for step in summary.steps}
    yield Measurement("step_duration", SECONDS, "How long each step took.", steps, "step")
    if cost := summary.cost:
        more = {"currency": cost.currency}
        yield Measurement("cost", NUMBER, "About what it cost.", _one(cost.total), more=more)


def _of_images(summary: Summary) -> Iterator[Measurement]:
    counts = {name: float(value) for name, value in vars(summary.counts).items()}
    yield Measurement("images", NUMBER, "Images by what became of them.", counts, "what")
    failures = {group.code: float(group.images) for group in summary.new_failures}
    yield Measurement("new_failures", NUMBER, "First failures by code.", failures, "code")
    yield Measurement("read", BYTES, "Bytes of images that were read.", _one(summary.bytes_read))


def _of_model(summary: Summary) -> Iterator[Measurement]:
    model, churn = summary.model, summary.churn
    more = {"model": model.name}
    version = _one(model.after)
    yield Measurement("model_version", NUMBER, "Version of the labels.", version, more=more)
    accuracy = _one(model.accuracy)
    yield Measurement(
        "model_accuracy", RATIO, "Test accuracy of a new version.", accuracy, more=more
    )
    share = _one(churn.share if churn else None)
    yield Measurement("churn", RATIO, "Share of labels that changed.", share)


def _of_drift(summary: Summary) -> Iterator[Measurement]:
    embeddings, labels = summary.drift.embeddings, summary.drift.labels
    moved = _one(embeddings.drift if embeddings else None)
    yield Measurement(
        "embedding_drift", RATIO, "Drift in radii of the training images; large from 0.5.", moved
    )
    index = _one(labels.drift if labels else None)
    yield Measurement(
        "label_drift", NUMBER, "Population stability index of labels; large from 0.25.", index
    )
    unknown = _one(summary.drift.unknown_share)
    yield Measurement("unknown", RATIO, "Share of images labelled unknown.", unknown)


def _one(value: float | None) -> dict[str, float]:
    return {} if value is None else {"": float(value)}


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
