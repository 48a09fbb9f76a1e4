"""From labelled images with stored embeddings to a published, tested model.

TensorFlow is imported by what needs it: a head of layers, and the export, which begins when the
embeddings are out of memory.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from linnaeus import backbones, models
from linnaeus.backbones import BackboneSpec
from linnaeus.embeddings import EmbeddingTable
from linnaeus.manifests import Manifest
from linnaeus.models import Model, ModelBackbone
from linnaeus.progress import SILENT, Progress
from linnaeus.sampling import sampler
from linnaeus.storage import Folder
from training import dataset, softmax
from training.calibration import fit_temperature
from training.config import TrainConfig
from training.evaluation import Evaluation, evaluate_logits
from training.examples import LabelledEmbeddings
from training.heads import Fit, Head, with_temperature
from training.publication import publishing

LIBRARIES = ("linnaeus", "numpy", "scipy", "tensorflow", "keras", "openvino", "pillow")


def train(
    workspace: Folder,
    manifest: Manifest,
    model: str,
    config: TrainConfig,
    progress: Progress = SILENT,
) -> Model:
    """Fits a head, tests it on the held-out split and publishes the model's next version.

    Raises:
        ConfigurationError: If the images, their labels or their embeddings do not suffice.
        StorageError: If the workspace cannot be read or written.
    """
    models.check_name(model)
    with progress.step("Prepare backbone", None):
        sample = sampler(workspace, manifest)
        spec = backbones.prepare(workspace, config.backbone, config.precision, sample)
    fitted = fit_and_test(workspace, manifest, spec, config, progress)
    with progress.step("Export", None) as step, publishing(workspace, model) as draft:
        from training.export import TrainedModel, export

        files = backbones.local_files(workspace, spec.fingerprint)
        export(TrainedModel(model, fitted.labels, fitted.head, spec, files), draft.folder)
        described = _description(model, draft.version, ModelBackbone.of(spec), fitted)
        (draft.folder / models.DESCRIPTION).write_text(described.to_json(), "utf-8")
        step.note(f"{model}:{draft.version} in {workspace.uri_of(described.prefix)}")
    return described


@dataclass(frozen=True)
class Fitted:
    """A tested head, and what `linnaeus.json` says of how it came about."""

    head: Head
    labels: tuple[str, ...]
    hyperparameters: dict[str, Any]
    metrics: dict[str, Any]
    data: dict[str, Any]


def fit_and_test(
    workspace: Folder,
    manifest: Manifest,
    spec: BackboneSpec,
    config: TrainConfig,
    progress: Progress = SILENT,
) -> Fitted:
    """Fits a head on stored embeddings and tests it on the held-out split."""
    with TemporaryDirectory(prefix="linnaeus-train-") as scratch:
        matrix = Path(scratch) / "matrix.f32"
        with progress.step("Read embeddings", None) as step:
            data = dataset.load(workspace, manifest, ModelBackbone.of(spec), config.split, matrix)
            step.note(_read_note(data))
        fit = fit_head(data, config, progress)
        validated, head, temperature = calibrate(fit, data)
        metrics = {
            "test": _judge(head, data, "test").to_dict(),
            "validation": _judge(validated, data, "validation").to_dict(),
        }
    facts = {
        "manifest_id": manifest.id,
        "source": manifest.source,
        "embeddings_version": EmbeddingTable(workspace, spec.fingerprint).version,
        "images": data.counts,
        "left_out": dict(data.left_out),
    }
    hyperparameters = _hyperparameters(config, fit, temperature)
    return Fitted(head, data.labels, hyperparameters, metrics, facts)


def _description(model: str, number: int, backbone: ModelBackbone, fitted: Fitted) -> Model:
    return Model(
        name=model,
        version=number,
        labels=fitted.labels,
        backbone=backbone,
        hyperparameters=fitted.hyperparameters,
        metrics=fitted.metrics,
        data=fitted.data,
        libraries={name: version(name) for name in LIBRARIES},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def fit_head(data: LabelledEmbeddings, config: TrainConfig, progress: Progress = SILENT) -> Fit:
    """Trains the kind of head that the configuration names."""
    if config.head == "layers":
        from training import layers

        with progress.step("Train", config.layers.epochs, "epochs") as step:
            fit = layers.fit(data, config.layers, config.seed, step.update)
            step.note(f"best of {fit.chosen['epochs']} epochs is {fit.chosen['best_epoch']}")
    else:
        with progress.step("Train", len(config.linear.l2), "strengths") as step:
            fit = softmax.fit(data, config.linear, step.update)
            step.note(f"regularisation {fit.chosen['l2']:g} is best on validation")
    return fit


def calibrate(fit: Fit, data: LabelledEmbeddings) -> tuple[Head, Head, float]:
    """Fits one temperature on validation; returns the validated and the final head with it."""
    validation = data.examples("validation")
    logits = fit.validated.logits_by_block(validation.embeddings)
    temperature = fit_temperature(logits, validation.targets, validation.weights)
    return (
        with_temperature(fit.validated, temperature),
        with_temperature(fit.finish(), temperature),
        temperature,
    )


def _judge(head: Head, data: LabelledEmbeddings, split: str) -> Evaluation:
    examples = data.examples(split)
    logits = head.logits_by_block(examples.embeddings)
    return evaluate_logits(logits, examples.targets, data.labels)


def _hyperparameters(config: TrainConfig, fit: Fit, temperature: float) -> dict[str, Any]:
    """What was asked for, less the other head's settings, and what was found."""
    return {
        **asdict(config),
        "chosen": {"head": fit.kind, **fit.chosen, "temperature": temperature},
    }


def _read_note(data: LabelledEmbeddings) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in data.counts.items())
    left_out = ", ".join(f"{count:,} {why}" for why, count in data.left_out.items())
    return f"{counts}; left out: {left_out}" if left_out else counts
