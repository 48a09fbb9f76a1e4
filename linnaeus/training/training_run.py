"""What a training leaves in `runs/<run_id>/`, from which its report is made."""

import io
import json
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq

from linnaeus import layout
from linnaeus.models import Model
from linnaeus.storage import Folder
from linnaeus.training.evaluation.assessment import Verdict


def record(workspace: Folder, model: Model, verdict: Verdict) -> None:
    """Writes what the model said of each held-out picture, and last the summary.

    Raises:
        StorageError: If the workspace cannot be written.
    """
    buffer = io.BytesIO()
    pq.write_table(verdict.judged, buffer, compression="zstd")
    workspace.write_new(layout.judged(model.run_id), buffer.getvalue())
    write_summary(workspace, model)


def write_summary(workspace: Folder, model: Model) -> None:
    """Writes that the training of a version is finished, unless that is written already."""
    summary = json.dumps(_summary(model), indent=2, ensure_ascii=False) + "\n"
    workspace.write_new(layout.summary(model.run_id), summary.encode())


def summarise(verdict: Verdict, summaries_dir: str) -> None:
    """Adds the confusion matrix of the test split to TensorBoard's summaries."""
    from linnaeus.training.summaries import confusion_image  # imports TensorFlow

    if verdict.rule.task == "single":
        confusion = np.array(verdict.evaluations["test"].confusion)
        confusion_image(summaries_dir, confusion, verdict.rule.labels)


def _summary(model: Model) -> dict[str, object]:
    test = model.metrics["test"]
    return {
        "run_id": model.run_id,
        "job": "train",
        "source": model.data["source"],
        "manifest_id": model.data["manifest_id"],
        "model": model.name,
        "model_version": model.version,
        "counts": {},
        "test": {name: test[name] for name in ("accuracy", "accuracy_interval", "images")},
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
