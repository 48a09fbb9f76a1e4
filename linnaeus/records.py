"""The rows that jobs exchange: Arrow schemas of files and tables, and their Python forms.

A `uri` is `s3://bucket/key`, `gs://…`, `az://…` or, for local files, an absolute path.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

LISTING = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("modified", TIMESTAMP, nullable=False),
    ]
)
"""What a listing sees of objects below a folder; keys are relative to it."""

MANIFEST = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("modified", TIMESTAMP),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("weight", pa.float32()),
        pa.field("labels", pa.list_(pa.string())),
    ]
)
"""An image has a `label`, or `labels` where several may apply, or neither."""

_OBJECT = (("source", pa.string()), ("uri", pa.string()), ("etag", pa.string()))
_SAID = (
    ("label", pa.string()),
    ("confidence", pa.float32()),
    ("labels", pa.list_(pa.string())),
    ("top_labels", pa.list_(pa.string())),
    ("top_scores", pa.list_(pa.float32())),
)
"""What a model says of a picture."""
_SCORED = (
    ("model_version", pa.int64()),
    ("trained_by", pa.string()),
    ("run_id", pa.string()),
    ("scored_at", TIMESTAMP),
)

OBJECTS = pa.schema(
    [
        *_OBJECT,
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("run_id", pa.string()),
    ]
)

EMBEDDINGS = pa.schema(
    [
        ("sha256", pa.string()),
        ("embedding", pa.list_(pa.float32())),
        ("run_id", pa.string()),
    ]
)

FAILURES = pa.schema(
    [
        *_OBJECT,
        ("stage", pa.string()),
        ("code", pa.string()),
        ("message", pa.string()),
        ("attempt", pa.int32()),
        ("computed_by", pa.string()),
        ("decoder", pa.string()),
        ("run_id", pa.string()),
        ("failed_at", TIMESTAMP),
    ]
)

PREDICTIONS = pa.schema(
    [
        *_OBJECT,
        ("sha256", pa.string()),
        *_SAID,
        *_SCORED,
    ]
)

LABELS = pa.schema(
    [
        *_OBJECT,
        ("sha256", pa.string()),
        ("status", pa.string()),
        *_SAID,
        ("code", pa.string()),
        ("message", pa.string()),
        *_SCORED,
        ("manifest_id", pa.string()),
    ]
)

HELD_OUT_PREDICTIONS = pa.schema(
    [
        ("uri", pa.string()),
        ("sha256", pa.string()),
        ("split", pa.string()),
        ("truth", pa.list_(pa.string())),
        ("label", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("confidence", pa.float32()),
        ("top_labels", pa.list_(pa.string())),
        ("top_scores", pa.list_(pa.float32())),
    ]
)
"""What a newly trained model says of pictures whose labels are known."""

CHANGES = pa.schema(
    [
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("sha256", pa.string()),
        ("was", pa.list_(pa.string())),
        ("was_confidence", pa.float32()),
        ("was_version", pa.int64()),
        ("labels", pa.list_(pa.string())),
        ("confidence", pa.float32()),
    ]
)
"""Objects whose labels a scoring run changed; an empty list is a model that was not sure."""

UNKNOWN = "unknown"
"""The label of a picture for which the model is not sure enough of any."""

LABELLED = "labelled"
FAILED = "failed"


@dataclass(frozen=True)
class ObjectReference:
    """A stored image as a manifest saw it: where, which version, how long."""

    uri: str
    etag: str | None
    """None: whatever is there when it is read."""
    size: int
    attempt: int = 1
    """The how-manieth try this is; 1 unless earlier runs failed on it."""


PREDICTION_OUTPUTS = ("label", "confidence", "top_labels", "top_scores")
"""What scoring asks of a model: all scores of a thousand classes would be ten times slower."""


def prediction_outputs(task: str) -> tuple[str, ...]:
    """The outputs that scoring asks for: those of a `multi` model have several `labels` a row."""
    return (*PREDICTION_OUTPUTS, "labels") if task == "multi" else PREDICTION_OUTPUTS


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image; scores are best first."""

    label: str
    """`unknown` if the model is not sure enough of any."""
    confidence: float
    labels: list[str]
    """All that the model is sure enough of: at most one of a `single` model."""
    top_labels: list[str]
    top_scores: list[float]


@dataclass(frozen=True)
class PhotoLabels:
    """What a model says of one photo that was only shown to it."""

    path: str
    labels: list[tuple[str, float]]
    """(label, score), best first; empty where there is an error."""
    error: str | None = None
    """Why the photo cannot be labelled, in one line that names it."""
    label: str = ""
    """What the model decides on: the best label, or `unknown`."""
    chosen: Sequence[str] = ()
    """All labels that the model is sure enough of: at most one of a `single` model."""


@dataclass(frozen=True)
class Counts:
    """A run's (or shard's) reconciled counts, in objects."""

    planned: int = 0
    done: int = 0
    failed: int = 0
    new_failures: int = 0
    """Failed for the first time."""
    skipped: int = 0
    """Up to date before the run."""
    known_failures: int = 0
    """Not tried: they failed before and would again."""
    bytes_read: int = 0
    embedded: int = 0
    compared: int = 0
    """Labelled anew, and labelled before in the same state of their object."""
    changed: int = 0
    """Of these, the ones whose labels are others now."""
    codes: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: "Counts") -> "Counts":
        codes = Counter(self.codes)
        codes.update(other.codes)
        sums: dict[str, Any] = {
            name: getattr(self, name) + getattr(other, name)
            for name in self.__dataclass_fields__
            if name != "codes"
        }
        return Counts(**sums, codes=dict(sorted(codes.items())))
