"""Finished training and scoring runs in a workspace, written as the jobs write them."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from linnaeus import layout, manifests, models
from linnaeus.labels.churn import Churn
from linnaeus.manifests import Manifest
from linnaeus.models import Model, ModelBackbone
from linnaeus.records import (
    CHANGES,
    EMBEDDINGS,
    FAILURES,
    HELD_OUT_PREDICTIONS,
    PREDICTIONS,
    Counts,
)
from linnaeus.runs import RunEnding
from linnaeus.storage import Folder
from linnaeus.tables import Part, Table
from linnaeus.training.evaluation.decisions import DecisionRule, Task
from linnaeus.training.evaluation.metrics import evaluate_scores

TRAINING_RUN = "01KAP0000000000000000TRA1N"
SCORING_RUN = "01KAP0000000000000000SC0RE"
BACKBONE = ModelBackbone("pixels@8", "b9c3dba292a7c4983274", 8, 8, 192)


@dataclass(frozen=True)
class Pictures:
    """Stored pictures, what they are, and what a model says of them."""

    uris: Sequence[str]
    truths: Sequence[list[str]]
    labels: Sequence[str]
    scores: NDArray[np.floating]
    """[n, C]"""
    embeddings: NDArray[np.floating]
    thresholds: dict[str, float] = field(default_factory=dict)
    task: Task = "single"

    @property
    def digests(self) -> list[str]:
        return [hashlib.sha256(uri.encode()).hexdigest() for uri in self.uris]

    @property
    def rule(self) -> DecisionRule:
        return DecisionRule(tuple(self.labels), self.task, self.thresholds)

    def said(self) -> pa.Table:
        """Everything of `HELD_OUT_PREDICTIONS` that the scores say."""
        decided = self.rule.decide(self.scores)
        return pa.table(
            {
                "uri": list(self.uris),
                "sha256": self.digests,
                "label": decided.label,
                "labels": pa.array(decided.labels, pa.list_(pa.string())),
                "confidence": decided.confidence,
                "top_labels": decided.top_labels,
                "top_scores": decided.top_scores.tolist(),
            }
        )


def write_embeddings(workspace: Folder, pictures: Pictures) -> None:
    rows = {
        "sha256": pictures.digests,
        "embedding": pictures.embeddings.astype(np.float32).tolist(),
        "run_id": ["e"] * len(pictures.uris),
    }
    key = layout.embeddings(BACKBONE.fingerprint)
    _append(Table(workspace, key, EMBEDDINGS), rows, "01KAP0000000000000000EMBED")


def write_training(workspace: Folder, pictures: Pictures, **facts: Any) -> Model:
    """A model with its run: the first fifth of the pictures is validation, the others test."""
    count = len(pictures.uris)
    splits = ["validation" if n < count // 5 else "test" for n in range(count)]
    judged = pictures.said()
    judged = judged.append_column("split", pa.array(splits, pa.string()))
    judged = judged.append_column("truth", pa.array(pictures.truths, pa.list_(pa.string())))
    sink = io.BytesIO()
    pq.write_table(judged.select(HELD_OUT_PREDICTIONS.names).cast(HELD_OUT_PREDICTIONS), sink)
    workspace.write(layout.held_out_predictions(TRAINING_RUN), sink.getvalue())
    model = replace(_model(pictures, splits), **facts)
    workspace.write(f"{model.prefix}/{models.DESCRIPTION}", model.to_json().encode())
    ending = RunEnding(
        TRAINING_RUN,
        "train",
        "/pictures",
        "m",
        model=model.name,
        model_version=model.version,
        counts=Counts(),
    )
    workspace.write(layout.summary(TRAINING_RUN), ending.to_json().encode())
    return model


def _model(pictures: Pictures, splits: list[str]) -> Model:
    return Model(
        name="things",
        version=1,
        labels=tuple(pictures.labels),
        backbone=BACKBONE,
        task=pictures.task,
        run_id=TRAINING_RUN,
        metrics={"test": _metrics(pictures, np.array(splits) == "test")},
        thresholds=pictures.thresholds,
        hyperparameters={"chosen": {"head": "linear", "l2": 0.01, "temperature": 1.13}},
        tried=[
            _tried("linear", {"l2": 0.01}, 0.31, 0.912),
            _tried("layers", {"hidden": [256], "dropout": 0.5}, 0.34, 0.905),
            _tried("kernel", {"centres": 512, "gamma": 0.001}, 0.29, 0.921),
        ],
        curve=[
            {
                "step": step,
                "train_loss": 2.0 / (1 + step),
                "validation_loss": 2.0 / (1 + step) + 0.002 * step,
                "train_accuracy": 1 - 0.6 / (1 + step),
                "validation_accuracy": 0.93 - 0.5 / (1 + step),
            }
            for step in range(25)
        ],
        data={"images": {"train": 4 * len(splits), "validation": 3, "test": 4}, "left_out": {}},
        libraries={"linnaeus": "0.1.0"},
        created_at="2026-11-22T03:00:00+00:00",
    )


def _tried(kind: str, settings: dict[str, Any], loss: float, accuracy: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "settings": settings,
        "validation_log_loss": loss,
        "validation_accuracy": accuracy,
        "seconds": 3.2,
    }


def _metrics(pictures: Pictures, tested: NDArray[np.bool_]) -> dict[str, Any]:
    numbers = {label: number for number, label in enumerate(pictures.labels)}
    targets = np.zeros(pictures.scores.shape, np.uint8)
    for row, truth in zip(targets, pictures.truths, strict=True):
        row[[numbers[label] for label in truth]] = 1
    known = targets if pictures.task == "multi" else targets.argmax(axis=1)
    return evaluate_scores(pictures.scores[tested], known[tested], pictures.rule).to_dict()


def write_scoring(
    workspace: Folder, pictures: Pictures, manifest: Manifest, failures: Sequence[dict[str, Any]]
) -> None:
    """What a scoring run leaves: predictions, failures and its summary. The model is there."""
    count = len(pictures.uris)
    now = datetime(2026, 11, 22, tzinfo=UTC)
    rows = pictures.said().to_pydict() | {
        "source": [manifest.source] * count,
        "etag": _etags(workspace, manifest, pictures.uris),
        "model_version": [1] * count,
        "trained_by": [TRAINING_RUN] * count,
        "run_id": [SCORING_RUN] * count,
        "scored_at": [now] * count,
    }
    _append(Table(workspace, layout.predictions("things"), PREDICTIONS), rows, SCORING_RUN)
    failed = [{"run_id": SCORING_RUN, "failed_at": now, **one} for one in failures]
    if failed:
        columns = {name: [one.get(name) for one in failed] for name in FAILURES.names}
        _append(Table(workspace, layout.FAILURES, FAILURES), columns, SCORING_RUN)
    ending = RunEnding(
        SCORING_RUN,
        "score",
        manifest.source,
        manifest.id,
        model="things",
        model_version=1,
        trained_by=TRAINING_RUN,
        counts=Counts(planned=count, done=count, failed=len(failed)),
    )
    workspace.write(layout.summary(SCORING_RUN), ending.to_json().encode())


def write_changes(workspace: Folder, rows: Sequence[dict[str, Any]], compared: int) -> None:
    """What a scoring run leaves of the labels that it changed."""
    churn = Churn(compared, len(rows)).to_json()
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=CHANGES.with_metadata({"churn": churn}))
    pq.write_table(table, sink)
    workspace.write(layout.changes(SCORING_RUN), sink.getvalue())


def _etags(workspace: Folder, manifest: Manifest, uris: Sequence[str]) -> list[str]:
    listed = manifests.load(workspace, manifest.id).to_pydict()
    known = dict(zip(listed["uri"], listed["etag"], strict=True))
    return [known[uri] for uri in uris]


def _append(table: Table, rows: dict[str, Any], run_id: str) -> None:
    sink = io.BytesIO()
    arrow = pa.table({name: pa.array(rows[name], table.schema.field(name).type) for name in rows})
    pq.write_table(arrow.select(table.schema.names).cast(table.schema), sink)
    key = f"{table.key}/{run_id}/00000.parquet"
    table.workspace.write(key, sink.getvalue())
    table.append([Part(key, len(sink.getvalue()), arrow.num_rows)], run_id)
