"""From labelled images with stored embeddings to a published, tested model.

TensorFlow is imported by what needs it: heads of layers, fine-tuning, and the export, which begins
when the embeddings are out of memory.
"""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ulid import ULID

from linnaeus import backbones, models
from linnaeus.backbones import BackboneSpec
from linnaeus.manifests import Manifest
from linnaeus.models import Model, ModelBackbone
from linnaeus.progress import SILENT, Progress, Step, names_text
from linnaeus.storage import Folder
from linnaeus.tables import EmbeddingTable
from linnaeus.training import training_run
from linnaeus.training.config import TrainConfig
from linnaeus.training.data import near_duplicates
from linnaeus.training.evaluation.assessment import Assessment, assess, pass_gate
from linnaeus.training.evaluation.held_out_predictions import mistakes
from linnaeus.training.evaluation.metrics import unrepresented
from linnaeus.training.exporting.publication import publishing
from linnaeus.training.fitting import Learned, Training, learn
from linnaeus.training.monitoring import Monitoring

LIBRARIES = ("linnaeus", "numpy", "scipy", "tensorflow", "keras", "openvino", "pillow")


def train(  # noqa: PLR0913, PLR0917 - where, of what, which, how, and two who are told
    workspace: Folder,
    manifest: Manifest,
    model: str,
    config: TrainConfig,
    progress: Progress = SILENT,
    monitoring: Monitoring = Monitoring(),
    home: Folder | None = None,
) -> Model:
    """Fits a head, tests it on the held-out split and publishes the model's next version.

    A training that was interrupted goes on from its last checkpoint. The model is published in
    `home`, where that is not the workspace itself: nothing reads it there before it is promoted.

    Raises:
        ConfigurationError: If the images, their labels or their embeddings do not suffice.
        GateFailed: If the model does not pass the gate; nothing is published then.
        StorageError: If the workspace cannot be read or written.
    """
    models.check_name(model)
    with TemporaryDirectory(prefix="linnaeus-train-") as scratch:
        learned = learn(Training(workspace, manifest, config, Path(scratch), progress, monitoring))
        with progress.step("Test", None) as step:
            assessment = assess(learned.fit, learned.data, config.gate)
            facts = _facts(workspace, manifest, learned)
            _note(step, assessment, facts)
    if monitoring.summaries_dir:
        training_run.summarise(assessment, monitoring.summaries_dir)
    pass_gate(assessment, config.gate)
    described = _described(model, config, learned, assessment, facts)
    with progress.step("Export", None) as step:
        published = _publish(workspace, home or workspace, described, learned.spec, assessment)
        where = (home or workspace).uri_of(published.prefix)
        step.note(f"{published.name}:{published.version} in {where}")
    training_run.record(home or workspace, published, assessment)
    learned.checkpoints.clear()
    return published


def _publish(
    workspace: Folder, home: Folder, described: Model, spec: BackboneSpec, assessment: Assessment
) -> Model:
    """Exports the model and makes it the next version, whose description is returned."""
    with publishing(home, described.name) as draft:
        from linnaeus.training.exporting.export import TrainedModel, export

        published = replace(described, version=draft.version)
        files = backbones.local_files(workspace, spec.fingerprint)
        trained = TrainedModel(described.name, assessment.rule, assessment.head, spec, files)
        export(trained, draft.folder)
        (draft.folder / models.DESCRIPTION).write_text(published.to_json(), "utf-8")
    return published


def _described(
    name: str, config: TrainConfig, learned: Learned, assessment: Assessment, facts: dict[str, Any]
) -> Model:
    """All that `linnaeus.json` says, but for the version, which is not known before the export."""
    fit = learned.fit
    chosen = {"head": fit.kind, **fit.chosen, "temperature": assessment.temperature}
    return Model(
        name=name,
        version=0,
        labels=learned.data.labels,
        backbone=ModelBackbone.of(learned.spec),
        task=learned.data.task,
        hyperparameters={**asdict(config), "chosen": chosen},
        metrics={name: one.to_dict() for name, one in assessment.evaluations.items()},
        thresholds=assessment.rule.thresholds,
        run_id=str(ULID()),
        tried=learned.tried,
        curve=[asdict(point) for point in fit.curve],
        mistakes=mistakes(assessment.held_out_predictions, assessment.rule.task),
        data=facts,
        libraries={library: version(library) for library in LIBRARIES},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _facts(workspace: Folder, manifest: Manifest, learned: Learned) -> dict[str, Any]:
    """What the model was made of."""
    data = learned.data
    return {
        "manifest_id": manifest.id,
        "source": manifest.source,
        "embeddings_version": EmbeddingTable(workspace, learned.spec.fingerprint).version,
        "images": data.counts,
        "left_out": dict(data.left_out),
        "near_duplicates": asdict(near_duplicates.straddling(data)),
    }


def _note(step: Step, assessment: Assessment, facts: dict[str, Any]) -> None:
    """One line of what a person should know of the test before believing it."""
    notes = [
        f"no {split} image has {names_text(missing)}"
        for split, evaluation in assessment.evaluations.items()
        if (missing := unrepresented(evaluation))
    ]
    if abstention := assessment.evaluations["test"].abstention:
        notes.append(
            f"'unknown' below {abstention.threshold:.3f}: {abstention.unknown:,} test images; "
            f"{abstention.precision:.1%} of the others are right"
        )
    if pairs := facts["near_duplicates"]["found"]:
        notes.append(
            f"{pairs:,} held-out images nearly equal one of another split "
            "(--near-duplicates together keeps them in one)"
        )
    if notes:
        step.note("; ".join(notes))
