"""Trains a backbone on: its last layers or all of them, with the head on top, on the pixels.

What comes out is a backbone of the workspace, which ends at the last hidden layer, and the last
layer as the head on its embeddings. Where a linear head suits the backbone as it is, training
begins with that one, so that the first steps do not spoil what the network knows (Kumar et al.
2022, "Fine-Tuning can Distort Pretrained Features").
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from linnaeus import preparation
from linnaeus.backbones import BackboneSpec, Extent, Tuning
from linnaeus.backbones.families.fine_tuned import TunedNetwork
from linnaeus.progress import SILENT, Progress
from linnaeus.storage import Folder
from linnaeus.training.checkpoints import Checkpoints, NoCheckpoints
from linnaeus.training.config import FineTuningConfig, TrainConfig
from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.fine_tuning.devices import Devices
from linnaeus.training.fine_tuning.images import Reader, Streams, settings_of
from linnaeus.training.fine_tuning.monitor import Monitor
from linnaeus.training.fine_tuning.training_loop import TrainingLoop
from linnaeus.training.fine_tuning.tunable import Tunable, new_layers
from linnaeus.training.heads import linear
from linnaeus.training.heads.head import CurvePoint, Dense, Head
from linnaeus.training.monitoring import Monitoring

CHECKPOINT = "fine-tuning"


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned backbone, and the last layer that was trained with it."""

    spec: BackboneSpec
    """Prepared in the workspace for every engine, under a fingerprint of its own."""
    head: Head
    """Takes the new backbone's embeddings."""
    curve: tuple[CurvePoint, ...]
    """A point an epoch; the weights are those of the lowest validation loss."""
    chosen: Mapping[str, Any]
    """What describes it, and what the training chose by itself."""


def fine_tune(  # noqa: PLR0913 - what all trainers of long runs take
    workspace: Folder,
    spec: BackboneSpec,
    data: LabelledEmbeddings,
    config: TrainConfig,
    *,
    checkpoints: Checkpoints = NoCheckpoints(),
    monitoring: Monitoring = Monitoring(),
    progress: Progress = SILENT,
) -> Tuned:
    """Trains the backbone of `spec` on, as `config.fine_tuning` says, and publishes what comes out.

    `data` has the backbone's own embeddings. Its training images are learned from, its validation
    images say when it is best; one that cannot be read any more is left out. With several graphics
    cards, each takes a part of every batch. A checkpoint is kept after each epoch, and a training
    that finds one goes on from there. Equal data, configuration and seed give equal weights on one
    machine's CPU.

    Raises:
        ConfigurationError: If the backbone cannot be trained so, no picture can be read, the loss
            is no number, or the checkpoint is damaged.
        StorageError: If the workspace cannot be written.
    """
    settings = settings_of(config)
    base = preparation.network_to_train(workspace, spec.name)
    extent = Extent(settings.layers, settings.pooling == "flatten")
    devices = Devices.found(mixed_precision=settings.mixed_precision)
    with devices.scope():
        trunk = base.trainable(extent)
        start = _linear_start(data, config)
        layers = new_layers(trunk.values, len(data.labels), settings, config.seed, start)
        network = Tunable(trunk, layers, settings.dropout)
    with TemporaryDirectory(prefix="linnaeus-fine-tuning-") as scratch:
        streams = Reader(data, config, devices.count, Path(scratch), progress).streams(trunk)
        loop = TrainingLoop(network, streams, settings, config.seed, devices)
        _run(loop, checkpoints, Monitor(monitoring, loop), progress)
    # Again, in float32 and on one device, as every engine is to have it.
    trained = Tunable(base.trainable(extent), layers, settings.dropout)
    trained.assign(loop.best)
    with progress.step("Prepare the fine-tuned backbone", None) as step:
        tuned = preparation.publish_tuned(workspace, _without_head(trained, spec, settings))
        step.note(tuned.name)
    chosen = _chosen(loop, spec, settings, _unreadable(data, streams))
    return Tuned(tuned, trained.head(), tuple(loop.curve), chosen)


def _linear_start(data: LabelledEmbeddings, config: TrainConfig) -> Dense | None:
    """The best linear head on the backbone as it is, where the last layer sees the same values."""
    settings = settings_of(config)
    if settings.hidden is not None or settings.pooling == "flatten":
        return None
    (layer,) = linear.fit(data, config.linear).validated.layers
    assert isinstance(layer, Dense)
    return layer


def _run(
    loop: TrainingLoop, checkpoints: Checkpoints, monitor: Monitor, progress: Progress
) -> None:
    """Goes through the epochs that are left, keeping a checkpoint after each."""
    kept = checkpoints.load(CHECKPOINT)
    if kept is not None:
        loop.restore(kept)
    before = len(loop.curve)  # of an earlier command, and no measure of this one's pace
    with progress.step("Fine-tune", loop.config.epochs - before, "epochs at most") as step:
        while not loop.finished:
            for number, scores in loop.epoch():
                monitor.after_step(number, scores)
            checkpoints.save(CHECKPOINT, loop.state())
            monitor.after_epoch()
            step.update(len(loop.curve) - before)
        step.note(_note(loop))


def _note(loop: TrainingLoop) -> str:
    best = loop.curve[loop.best_epoch - 1]
    return (
        f"best of {len(loop.curve)} epochs is {best.step}, validation accuracy "
        f"{best.validation_accuracy:.1%}, {loop.images_per_second:,.1f} images/s"
    )


def _without_head(trained: Tunable, base: BackboneSpec, settings: FineTuningConfig) -> TunedNetwork:
    hidden = "" if settings.hidden is None else f";dense-relu-{settings.hidden}"
    return TunedNetwork(
        base=trained.trunk,
        above=trained.hidden,
        variables=trained.hidden_variables,
        graph=f"{settings.pooling}{hidden}",
        tuning=Tuning(base.name, asdict(settings)),
    )


def _unreadable(data: LabelledEmbeddings, streams: Streams) -> int:
    images = data.counts["train"] + data.counts["validation"]
    return images - len(streams.train) - len(streams.validation)


def _chosen(
    loop: TrainingLoop, base: BackboneSpec, settings: FineTuningConfig, unreadable: int
) -> dict[str, Any]:
    return {
        "base": base.name,
        "settings": asdict(settings),
        "epochs": len(loop.curve),
        "best_epoch": loop.best_epoch,
        "images_per_second": round(loop.images_per_second, 1),
        "unreadable_images": unreadable,
    }
