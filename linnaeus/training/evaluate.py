"""Tests a published model on labelled images whose embeddings are stored."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnaeus import layout
from linnaeus.errors import ConfigurationError, FingerprintMismatch
from linnaeus.manifests import Manifest
from linnaeus.models import Model, load_model
from linnaeus.progress import SILENT, Progress
from linnaeus.storage import Folder
from linnaeus.tables import read_matrix
from linnaeus.training.data import dataset, refusals
from linnaeus.training.data.held_out import held_out, seen
from linnaeus.training.data.truth import positions, presence
from linnaeus.training.evaluation.decisions import DecisionRule
from linnaeus.training.evaluation.metrics import evaluate_scores


def evaluate(
    workspace: Folder, manifest: Manifest, model: str, progress: Progress = SILENT
) -> dict[str, Any]:
    """Metrics of `NAME` or `NAME:VERSION` on a manifest's labelled images, each counting once.

    Where the images come from the source that the model was trained on, only its test split is
    evaluated, since the model has seen the others; of another source, all that it has not seen.

    Returns:
        The metrics of `linnaeus.training.evaluation.metrics.Evaluation.to_dict`, and `model`,
        `split`, `manifest_id` and `left_out`.

    Raises:
        ConfigurationError: If the model does not exist, an image has a label that the model does
            not know, or several where it gives one, or nothing is there to evaluate it by.
        FingerprintMismatch: If the images are embedded by another backbone only.
    """
    described = load_model(workspace, model)
    fates = dataset.image_fates(workspace, manifest, described.fingerprint)
    used = dataset.usable(fates)
    if not len(used):
        raise _nothing_to_evaluate(workspace, manifest, described)
    _refuse_unfit_labels(used, described)
    left_out = dataset.left_out(fates)
    split, unseen = _unseen(workspace, used, manifest, described)
    if split == "all" and len(unseen) < len(used):
        left_out["of its training"] = len(used) - len(unseen)
    used = unseen
    with progress.step("Evaluate", None):
        scores = scores_of(workspace, described, used["sha256"].to_pylist())
        targets = _targets(used["truth"], described)
        evaluation = evaluate_scores(scores, targets, DecisionRule.of(described))
    return {
        "model": f"{described.name}:{described.version}",
        "manifest_id": manifest.id,
        "split": split,
        **evaluation.to_dict(),
        "left_out": left_out,
    }


def scores_of(workspace: Folder, model: Model, digests: list[str]) -> NDArray[np.float32]:
    """A published model's scores [n, C] of images by their stored embeddings."""
    from linnaeus.training.exporting.published import opened  # imports TensorFlow, for seconds

    with TemporaryDirectory(prefix="linnaeus-evaluate-") as scratch:
        file = Path(scratch) / "matrix.f32"
        matrix = read_matrix(workspace, model.fingerprint, digests, file)
        with opened(workspace, model) as published:
            return published.scores(matrix)


def _unseen(
    workspace: Folder, used: pa.Table, manifest: Manifest, model: Model
) -> tuple[str, pa.Table]:
    """The rows that the model was not trained on, and what to call them."""
    named = f"model {model.name}:{model.version}"
    if manifest.source != model.data["source"]:
        unseen = used.filter(pc.invert(seen(workspace, used, model)))
        if not len(unseen):
            raise ConfigurationError(
                f"{named} was trained on the same images as those of {manifest.source}: evaluate "
                "on images that it never saw"
            )
        return "all", unseen
    tested = used.filter(held_out(workspace, used, model))
    if not len(tested):
        raise ConfigurationError(
            f"{named} was trained on {manifest.source}, of which no "
            "image is in the test split now: evaluate on images that it never saw"
        )
    return "test", tested


def _targets(truth: pa.ChunkedArray, model: Model) -> NDArray[Any]:
    """What the scores are held against, as the model's task has it."""
    return (presence if model.task == "multi" else positions)(truth, model.labels)


def _refuse_unfit_labels(used: pa.Table, model: Model) -> None:
    named = f"model {model.name}:{model.version}"
    for uri, truth in zip(used["uri"].to_pylist(), used["truth"].to_pylist(), strict=True):
        for label in truth:
            if label not in model.labels:
                raise ConfigurationError(
                    f"{uri} has the label {label!r}, which {named} does not know "
                    f"({', '.join(model.labels)}): train it again or evaluate without that label"
                )
        if model.task == "single" and len(truth) != 1:
            raise ConfigurationError(
                f"{uri} has {len(truth)} labels, and {named} gives one: evaluate a model that was "
                "trained on several"
            )


def _nothing_to_evaluate(
    workspace: Folder, manifest: Manifest, model: Model
) -> ConfigurationError | FingerprintMismatch:
    """Tells images that nobody embedded from those that another backbone did."""
    backbone = model.backbone
    remedy = f"run `{refusals.embed_command(manifest, backbone)}` first"
    for fingerprint in filter(layout.NAME.fullmatch, workspace.folders("embeddings")):
        if len(dataset.usable(dataset.image_fates(workspace, manifest, fingerprint))):
            return FingerprintMismatch(
                f"model {model.name}:{model.version} needs embeddings of {backbone.name} "
                f"({backbone.fingerprint}), but those of {manifest.source} are of "
                f"{fingerprint}: {remedy}"
            )
    return ConfigurationError(
        f"no labelled image of {manifest.source} has an embedding by {backbone.name}: {remedy}"
    )
