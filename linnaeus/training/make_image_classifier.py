"""Train a classifier of your own pictures, by the flags of TensorFlow Hub's program of that name.

    python -m linnaeus.training.make_image_classifier --image_dir flower_photos \
        --tfhub_module efficientnet-lite0 --saved_model_dir saved --labels_output_file labels.txt

Its embeddings are kept in `--workspace`, and the model is published there, too, as `classifier`.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linnaeus.augmentation_settings import Augmentation
from linnaeus.errors import ConfigurationError, GateFailed, LinnaeusError
from linnaeus.manifests import Manifest
from linnaeus.models import Model
from linnaeus.plain_text import plain
from linnaeus.process import share_temporary_files
from linnaeus.storage import Folder
from linnaeus.training.config import (
    FineTuningConfig,
    GateConfig,
    LayersConfig,
    SplitConfig,
    TrainConfig,
)
from linnaeus.training.drop_in import inputs as drop_in_inputs
from linnaeus.training.drop_in import outputs as drop_in_outputs
from linnaeus.training.drop_in.flags import flag, parse
from linnaeus.training.drop_in.programs import Log, run_program
from linnaeus.training.monitoring import Monitoring
from linnaeus.training.train import train

MODEL = "classifier"
WORKSPACE = os.environ.get("LINNAEUS_WORKSPACE", "./workspace")


@dataclass(frozen=True)
class ClassifierFlags:
    """Train a classifier of your own pictures."""

    image_dir: str = flag("", "A folder a label; without it, TensorFlow's flowers are downloaded.")
    tfhub_module: str = flag(
        "https://tfhub.dev/google/tf2-preview/mobilenet_v2/feature_vector/4",
        "The network: a TensorFlow Hub handle, a SavedModel's folder, or a backbone's name, such "
        "as efficientnet-lite0, which needs no internet.",
    )
    image_size: int | None = flag(None, "Height and width of the network's input.")
    saved_model_dir: str = flag("", "Where to save a SavedModel.")
    tflite_output_file: str = flag("", "Where to save a TFLite file.")
    labels_output_file: str = flag("", "Where to save the labels, in the order of the scores.")
    summaries_dir: str = flag("", "Where to save summaries for TensorBoard.")
    assert_accuracy_at_least: float | None = flag(
        None, "Test accuracy, from 0 to 1, below which nothing is exported."
    )
    train_epochs: int = flag(5, "Passes over the training images.")
    do_fine_tuning: bool = flag(False, "Train the network, too, not the last layer only.")
    batch_size: int = flag(32, "How many images to train on at a time.")
    learning_rate: float = flag(0.005, "How large a learning rate to use.")
    momentum: float = flag(0.9, "Of the gradient descent.")
    dropout_rate: float = flag(0.2, "Share of activations dropped before the last layer.")
    l1_regularizer: float = flag(0.0, "Times the absolute weights, added to the loss.")
    l2_regularizer: float = flag(0.0001, "Times the squared weights, added to the loss.")
    label_smoothing: float = flag(0.1, "Share of a label spread over all classes.")
    validation_split: float = flag(0.2, "Share of the images held out to choose.")
    do_data_augmentation: bool = flag(False, "Vary the training images, as the next flags say.")
    rotation_range: float = flag(40, "Turn by up to this many degrees either way.")
    horizontal_flip: bool = flag(True, "Mirror half of the pictures.")
    width_shift_range: float = flag(0.2, "Move sideways by up to this share of the width.")
    height_shift_range: float = flag(0.2, "Move up or down by up to this share of the height.")
    shear_range: float = flag(0.2, "Has no effect: its unit was degrees, too few to be seen.")
    zoom_range: float = flag(0.2, "Scale by a factor from 1 - this to 1 + this.")
    set_memory_growth: bool = flag(False, "Take memory of graphics cards only as it is needed.")
    distribution_strategy: str = flag(
        "", "Has no effect: all graphics cards there are take part.", ("", "mirrored")
    )
    test_split: float = flag(0.1, "Share of the images held out to test.")
    views: int = flag(4, "Varied copies of each training image; fine-tuning makes new ones.")
    workspace: str = flag(WORKSPACE, "Where embeddings and the model are kept.")


def main() -> None:
    """Do what the process's flags say."""
    flags = parse(ClassifierFlags, "linnaeus.training.make_image_classifier")
    log = Log()
    config = configuration(flags)
    workspace = Folder(flags.workspace)
    manifest = drop_in_inputs.listed(workspace, flags.image_dir or flowers(log), log)
    if flags.set_memory_growth:
        set_memory_growth()
    model = trained(workspace, manifest, config, flags, log)
    print(f"Found {len(model.labels)} classes: {', '.join(map(plain, model.labels))}")
    print(drop_in_outputs.accuracy_line(model))
    write(flags, workspace, manifest, model)


def configuration(flags: ClassifierFlags) -> TrainConfig:
    """The same training: dropout and one dense layer, and the network below it on request."""
    return TrainConfig(
        backbone=_backbone(flags),
        head="layers",
        split=SplitConfig(100 * flags.validation_split, 100 * flags.test_split),
        layers=LayersConfig(l1=flags.l1_regularizer, **_descent(flags)),
        augmentation=_augmentation(flags),
        views=flags.views,
        fine_tuning=_fine_tuning(flags) if flags.do_fine_tuning else None,
        gate=GateConfig(flags.assert_accuracy_at_least),
    )


def _backbone(flags: ClassifierFlags) -> str:
    name = drop_in_inputs.module_name(flags.tfhub_module)
    return name if flags.image_size is None else f"{name}@{flags.image_size}"


def _augmentation(flags: ClassifierFlags) -> Augmentation:
    if not flags.do_data_augmentation:
        return Augmentation()
    return Augmentation(
        horizontal_flip=flags.horizontal_flip,
        rotation=flags.rotation_range,
        width_shift=flags.width_shift_range,
        height_shift=flags.height_shift_range,
        zoom=flags.zoom_range,
    )


def _fine_tuning(flags: ClassifierFlags) -> FineTuningConfig:
    if flags.l1_regularizer:
        raise ConfigurationError("--do_fine_tuning has no --l1_regularizer: use --l2_regularizer")
    return FineTuningConfig(**_descent(flags))


def _descent(flags: ClassifierFlags) -> dict[str, Any]:
    """What training a head and fine-tuning have in common."""
    return {
        "dropout": flags.dropout_rate,
        "label_smoothing": flags.label_smoothing,
        "l2": flags.l2_regularizer,
        "batch_size": flags.batch_size,
        "optimizer": "sgd",
        "learning_rate": flags.learning_rate,
        "momentum": flags.momentum,
        "epochs": flags.train_epochs,
        "patience": flags.train_epochs,
    }


def trained(
    workspace: Folder, manifest: Manifest, config: TrainConfig, flags: ClassifierFlags, log: Log
) -> Model:
    """The published model; a model that falls short is neither published nor exported."""
    drop_in_inputs.embedded(workspace, manifest, config.backbone, log)
    monitoring = Monitoring(summaries_dir=flags.summaries_dir or None)
    try:
        model = train(workspace, manifest, MODEL, config, log.progress, monitoring=monitoring)
    except GateFailed as error:
        raise GateFailed(f"ACCURACY FAILED: {error}") from error
    wanted, reached = config.gate.accuracy_at_least, model.metrics["test"]["accuracy"]
    if wanted is not None:
        print(f"ACCURACY PASSED: found {reached:f}, expected at least {wanted:f}")
    return model


def flowers(log: Log) -> str:
    """The list of TensorFlow's flowers, downloaded where they are not there yet."""
    from linnaeus.datasets import DATASETS, place

    share_temporary_files()
    known, folder = DATASETS["flowers"], Path(tempfile.gettempdir()) / "flower_photos"
    try:
        return str(place(known.samples, folder, known.images, log.progress))
    except LinnaeusError as error:
        raise ConfigurationError(
            "there is no --image_dir, and the flowers that stand in for it cannot be downloaded: "
            "name a folder of your own pictures"
        ) from error


def set_memory_growth() -> None:
    """Let TensorFlow take memory of graphics cards as it needs it, not all at once."""
    import tensorflow as tf

    for card in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(card, True)


def write(flags: ClassifierFlags, workspace: Folder, manifest: Manifest, model: Model) -> None:
    """The files that were asked for, from the published model."""
    from linnaeus.training.exporting.published import opened

    with opened(workspace, model) as published:
        if flags.labels_output_file:
            drop_in_outputs.write_labels(model.labels, flags.labels_output_file)
            print(f"Labels written to {flags.labels_output_file}")
        if flags.saved_model_dir:
            drop_in_outputs.write_saved_model(published.folder, flags.saved_model_dir)
            print(f"SavedModel model exported to {flags.saved_model_dir}")
        if flags.tflite_output_file:
            _write_tflite(published.folder, flags.tflite_output_file, workspace, manifest, model)


def _write_tflite(
    folder: Path, to: str, workspace: Folder, manifest: Manifest, model: Model
) -> None:
    """A float32 file, and how it does on the test images, which are read again for it."""
    from linnaeus.training.tflite import export as tflite
    from linnaeus.training.tflite import pictures as tflite_pictures
    from linnaeus.training.tflite.conversion import Source, convert

    _, pictures = tflite_pictures.read(workspace, manifest, model)
    backbone = model.backbone
    source = Source(folder, backbone.height, backbone.width, model.labels, model.name)
    content = convert(source, "float32")
    right = tflite.accuracy(tflite.scores(content, pictures.pixels), pictures, model)
    drop_in_outputs.write_file(content, to)
    print(
        f"TFLite model exported to {to}: {len(content) / 1e6:.1f} MB, accuracy "
        f"{100 * right:.1f}% (N={len(pictures.pixels)})"
    )


if __name__ == "__main__":
    run_program(main)
