"""Learns a head from stored embeddings, or head and backbone from the images themselves."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from linnaeus import preparation
from linnaeus.backbones import BackboneSpec, views
from linnaeus.manifests import Manifest, sampler
from linnaeus.models import ModelBackbone
from linnaeus.progress import Progress
from linnaeus.storage import Folder
from linnaeus.training.checkpoints import StoredCheckpoints
from linnaeus.training.config import TrainConfig
from linnaeus.training.data import dataset
from linnaeus.training.data.dataset import Selection
from linnaeus.training.data.embedding import embed_missing
from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.data.refusals import refuse_not_finite
from linnaeus.training.data.views import embed_views, with_views
from linnaeus.training.heads import sweep
from linnaeus.training.heads.head import Fit
from linnaeus.training.heads.weighting import weighed
from linnaeus.training.monitoring import Monitoring


@dataclass(frozen=True)
class Training:
    """What one training works with."""

    workspace: Folder
    manifest: Manifest
    config: TrainConfig
    scratch: Path
    """Folder on this machine for matrices; it may be needed until all is evaluated."""
    progress: Progress
    monitoring: Monitoring


@dataclass(frozen=True)
class Learned:
    """A fitted head, the backbone whose embeddings it reads, and what it was fitted on."""

    spec: BackboneSpec
    data: LabelledEmbeddings
    """Plain images only, even where varied views of them were trained on."""
    fit: Fit
    tried: tuple[Mapping[str, Any], ...]
    checkpoints: StoredCheckpoints
    """To be cleared when the model is published."""


def learn(training: Training) -> Learned:
    """Prepares the backbone and fits what the configuration asks for.

    Raises:
        ConfigurationError: If the images, their labels or their embeddings do not suffice.
        StorageError: If the workspace cannot be read or written.
    """
    spec = _prepare(training, training.config.backbone)
    return (_fine_tuned if training.config.fine_tuning else _on_embeddings)(training, spec)


def _on_embeddings(training: Training, spec: BackboneSpec) -> Learned:
    data = _load(training, spec)
    checkpoints = _checkpoints(training, spec, data)
    varied = _varied(training, spec, data)
    result = sweep.run(varied, training.config, checkpoints, training.monitoring, training.progress)
    return Learned(spec, data, result.best, tuple(map(asdict, result.tried)), checkpoints)


def _fine_tuned(training: Training, base: BackboneSpec) -> Learned:
    from linnaeus.training.fine_tuning.tuning import fine_tune  # imports TensorFlow

    preparation.network_to_train(training.workspace, base.name)  # before anything takes long
    embed_missing(training.workspace, training.manifest, base, training.progress)
    data = _load(training, base)
    refuse_not_finite(data)
    checkpoints = _checkpoints(training, base, data)
    tuned = fine_tune(
        training.workspace,
        base,
        weighed(data, training.config.class_weights),
        training.config,
        checkpoints=checkpoints,
        monitoring=training.monitoring,
        progress=training.progress,
    )
    spec = _prepare(training, tuned.spec.name)
    embed_missing(training.workspace, training.manifest, spec, training.progress)
    fit = Fit("fine-tuned", tuned.head, lambda: tuned.head, tuned.chosen, tuned.curve)
    return Learned(spec, _seen_by(training, spec, data), fit, (), checkpoints)


def _prepare(training: Training, name: str) -> BackboneSpec:
    """A backbone in the requested precision; fine-tuning starts from float32."""
    config = training.config
    exact = config.fine_tuning is not None and name == config.backbone
    with training.progress.step("Prepare backbone", None):
        sample = sampler(training.workspace, training.manifest)
        precision = "float32" if exact else config.precision
        return preparation.prepare(training.workspace, name, precision, sample)


def _load(training: Training, spec: BackboneSpec) -> LabelledEmbeddings:
    selection = Selection(training.config.split, training.config.labels)
    file = training.scratch / f"{spec.fingerprint}.f32"
    with training.progress.step("Read embeddings", None) as step:
        backbone = ModelBackbone.of(spec)
        data = dataset.load(training.workspace, training.manifest, backbone, selection, file)
        step.note(_read_note(data))
    return data


def _seen_by(
    training: Training, spec: BackboneSpec, data: LabelledEmbeddings
) -> LabelledEmbeddings:
    """The data by a fine-tuned backbone, split as it was learned from: a new split would leak."""
    with training.progress.step("Read embeddings", None) as step:
        file = training.scratch / f"{spec.fingerprint}.f32"
        seen = dataset.embedded_by(training.workspace, spec.fingerprint, data, file)
        refuse_not_finite(seen)
        step.note(_read_note(seen))
    return seen


def _read_note(data: LabelledEmbeddings) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in data.counts.items())
    left_out = ", ".join(f"{count:,} {why}" for why, count in data.left_out.items())
    return f"{counts}; left out: {left_out}" if left_out else counts


def _varied(training: Training, spec: BackboneSpec, data: LabelledEmbeddings) -> LabelledEmbeddings:
    """The data with varied views of the training images, embedded now where they are not yet."""
    config, workspace = training.config, training.workspace
    if not config.augmentation.varies:
        return data
    specs = views.prepare(workspace, spec, config.augmentation, config.seed, config.views)
    embed_views(workspace, training.manifest, data, specs, training.progress)
    return with_views(data, workspace, specs, training.scratch / "views.f32")


def _checkpoints(
    training: Training, spec: BackboneSpec, data: LabelledEmbeddings
) -> StoredCheckpoints:
    """Found again by the same settings on the same images, labels and splits only."""
    images = sha256(data.digests.to_numpy(zero_copy_only=False).astype("S64").tobytes())
    for values in (data.rows.targets, data.rows.weights):
        images.update(np.ascontiguousarray(values).tobytes())
    decisive = {
        "settings": asdict(replace(training.config, gate=TrainConfig().gate)),
        "backbone": spec.fingerprint,
        "images": images.hexdigest(),
        "splits": data.counts,
    }
    return StoredCheckpoints(training.workspace, decisive)
