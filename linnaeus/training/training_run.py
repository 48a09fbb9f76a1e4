"""What a training leaves in `runs/<run_id>/`, from which its report is made."""

import io
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq

from linnaeus import layout
from linnaeus.models import Model
from linnaeus.records import Counts
from linnaeus.runs import RunEnding
from linnaeus.storage import Folder
from linnaeus.training.evaluation.assessment import Assessment


def record(workspace: Folder, model: Model, assessment: Assessment) -> None:
    """Writes what the model predicts of each held-out picture, and last the summary.

    Raises:
        StorageError: If the workspace cannot be written.
    """
    buffer = io.BytesIO()
    pq.write_table(assessment.held_out_predictions, buffer, compression="zstd")
    workspace.write_new(layout.held_out_predictions(model.run_id), buffer.getvalue())
    write_summary(workspace, model)


def write_summary(workspace: Folder, model: Model) -> None:
    """Writes that the training of a version is finished, unless that is written already."""
    workspace.write_new(layout.summary(model.run_id), _ending(model).to_json().encode())


def summarise(assessment: Assessment, summaries_dir: str) -> None:
    """Adds the confusion matrix of the test split to TensorBoard's summaries."""
    from linnaeus.training.summaries import confusion_image  # imports TensorFlow

    if assessment.rule.task == "single":
        confusion = np.array(assessment.evaluations["test"].confusion)
        confusion_image(summaries_dir, confusion, assessment.rule.labels)


def _ending(model: Model) -> RunEnding:
    test = model.metrics["test"]
    return RunEnding(
        run_id=model.run_id,
        job="train",
        source=model.data["source"],
        manifest_id=model.data["manifest_id"],
        model=model.name,
        model_version=model.version,
        counts=Counts(),
        test={name: test[name] for name in ("accuracy", "accuracy_interval", "images")},
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
