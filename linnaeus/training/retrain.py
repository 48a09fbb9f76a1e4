"""Retrain a network's last layer for your own pictures, by the flags of TensorFlow's `retrain.py`.

    python -m linnaeus.training.retrain --image_dir flower_photos --tfhub_module efficientnet-lite0

It prints `Final test accuracy = 91.2% (N=367)` and writes the frozen graph, the labels, summaries
for TensorBoard and, on request, a SavedModel. `--bottleneck_dir` is the workspace: its tables are
the cache, and the model is published there, too, as `retrained`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from linnaeus import backbones
from linnaeus.augmentation_settings import Augmentation
from linnaeus.backbones import BackboneSpec
from linnaeus.errors import ConfigurationError
from linnaeus.models import Model, ModelBackbone
from linnaeus.plain_text import plain
from linnaeus.storage import Folder, is_local, normalise
from linnaeus.training.config import LayersConfig, SplitConfig, TrainConfig
from linnaeus.training.drop_in import architectures
from linnaeus.training.drop_in import inputs as drop_in_inputs
from linnaeus.training.drop_in import outputs as drop_in_outputs
from linnaeus.training.drop_in.flags import flag, parse
from linnaeus.training.drop_in.programs import LEVELS, Log, run_program
from linnaeus.training.heads.head import CurvePoint
from linnaeus.training.monitoring import Monitoring
from linnaeus.training.train import train

if TYPE_CHECKING:
    from linnaeus.training.exporting.intermediate_graphs import IntermediateGraphs

MODEL = "retrained"


@dataclass(frozen=True)
class RetrainFlags:
    """Retrain a network's last layer for your own pictures."""

    image_dir: str = flag("", "Path to folders of labeled images.")
    output_graph: str = flag("/tmp/output_graph.pb", "Where to save the trained graph.")
    intermediate_output_graphs_dir: str = flag(
        "/tmp/intermediate_graph/", "Where to save the intermediate graphs."
    )
    intermediate_store_frequency: int = flag(
        0, "Steps between intermediate graphs; 0: there are none."
    )
    output_labels: str = flag("/tmp/output_labels.txt", "Where to save the graph's labels.")
    summaries_dir: str = flag("/tmp/retrain_logs", "Where to save summaries for TensorBoard.")
    how_many_training_steps: int = flag(4000, "How many training steps to run.")
    learning_rate: float = flag(0.01, "How large a learning rate to use.")
    testing_percentage: float = flag(10, "What percentage of images to use as a test set.")
    validation_percentage: float = flag(10, "What percentage of images to validate on.")
    eval_step_interval: int = flag(10, "Steps between looks at the validation images.")
    train_batch_size: int = flag(100, "How many images to train on at a time.")
    test_batch_size: int = flag(-1, "Has no effect: all test images are used.")
    validation_batch_size: int = flag(100, "Has no effect: all validation images are used.")
    print_misclassified_test_images: bool = flag(
        False, "Print the misclassified test images and what they were taken for."
    )
    bottleneck_dir: str = flag(
        "/tmp/bottleneck", "The workspace, whose tables keep what the network says of an image."
    )
    final_tensor_name: str = flag("final_result", "The name of the graph's last node.")
    flip_left_right: bool = flag(False, "Mirror half of the training images.")
    random_crop: float = flag(0, "Percentage of margin to crop off the training images.")
    random_scale: float = flag(0, "Percentage by which training images grow at most.")
    random_brightness: float = flag(0, "Percentage by which pixels are multiplied up or down.")
    tfhub_module: str = flag(
        architectures.INCEPTION,
        "The network: a TensorFlow Hub handle, a SavedModel's folder, or a backbone's name, such "
        "as efficientnet-lite0, which needs no internet.",
    )
    architecture: str = flag(
        "", "In place of --tfhub_module: inception_v3, or mobilenet_<width>_<size>[_quantized]."
    )
    model_dir: str = flag("/tmp/imagenet", "Where --architecture looks for its frozen graph.")
    saved_model_dir: str = flag("", "Where to save a SavedModel; empty: there is none.")
    checkpoint_path: str = flag("/tmp/_retrain_checkpoint", "Where to save the final weights.")
    logging_verbosity: str = flag("INFO", "How much is said on standard error.", LEVELS)
    split_by: str = flag(
        "full-path",
        "What of a path decides its split: all of it as typed, as it was, or root-relative, "
        "which survives a move.",
        ("full-path", "root-relative"),
    )
    views: int = flag(4, "Distorted copies of each training image, where there are distortions.")


def main() -> None:
    """Do what the process's flags say."""
    flags = parse(RetrainFlags, "linnaeus.training.retrain")
    log = Log(flags.logging_verbosity)
    model = retrain(flags, log)
    report(model, flags.print_misclassified_test_images)


def retrain(flags: RetrainFlags, log: Log) -> Model:
    """Embed what is not yet embedded, train, publish, and write all that the original wrote."""
    _check(flags)
    workspace = Folder(flags.bottleneck_dir)
    manifest = drop_in_inputs.listed(workspace, flags.image_dir, log)
    config = configuration(flags)
    spec = drop_in_inputs.embedded(workspace, manifest, config.backbone, log)
    monitoring = _monitoring(flags, log, _intermediate_graphs(flags, workspace, spec, log))
    model = train(workspace, manifest, MODEL, config, log.progress, monitoring=monitoring)
    _write(flags, workspace, model, log)
    return model


def configuration(flags: RetrainFlags) -> TrainConfig:
    """The same training: one dense layer by plain gradient descent, labels drawn evenly."""
    return TrainConfig(
        backbone=_backbone(flags),
        head="layers",
        split=_split(flags),
        layers=LayersConfig(
            dropout=0.0,
            l2=0.0,
            label_smoothing=0.0,
            batch_size=flags.train_batch_size,
            sampling="balanced",
            optimizer="sgd",
            learning_rate=flags.learning_rate,
            steps=flags.how_many_training_steps,
        ),
        augmentation=Augmentation(
            horizontal_flip=flags.flip_left_right,
            random_crop=flags.random_crop,
            random_scale=flags.random_scale,
            random_brightness=flags.random_brightness,
        ),
        views=flags.views,
    )


def _split(flags: RetrainFlags) -> SplitConfig:
    """As the original: by each path as `--image_dir` was typed."""
    by: Literal["full-path", "root-relative"] = (
        "full-path" if flags.split_by == "full-path" else "root-relative"
    )
    is_folder = is_local(normalise(flags.image_dir)) and Path(flags.image_dir).is_dir()
    return SplitConfig(
        flags.validation_percentage,
        flags.testing_percentage,
        by,
        root=flags.image_dir if by == "full-path" and is_folder else None,
    )


def _backbone(flags: RetrainFlags) -> str:
    if not flags.architecture:
        return drop_in_inputs.module_name(flags.tfhub_module)
    if flags.tfhub_module != architectures.INCEPTION:
        raise ConfigurationError("give --architecture or --tfhub_module, not both")
    return architectures.backbone(flags.architecture, flags.model_dir)


def _check(flags: RetrainFlags) -> None:
    """What would otherwise go wrong only at the end."""
    if not flags.image_dir:
        raise ConfigurationError("Must set flag --image_dir.")
    if flags.eval_step_interval < 1:
        raise ConfigurationError(
            f"--eval_step_interval is at least 1 step, not {flags.eval_step_interval}"
        )
    if flags.saved_model_dir:
        drop_in_outputs.refuse_filled(flags.saved_model_dir)


def _monitoring(flags: RetrainFlags, log: Log, graphs: "IntermediateGraphs | None") -> Monitoring:
    drop_in_outputs.clear_summaries(flags.summaries_dir)
    return Monitoring(
        summaries_dir=flags.summaries_dir,
        every_steps=flags.eval_step_interval,
        on_step=graphs.on_step if graphs else None,
        on_point=lambda point: _tell_point(point, log),
    )


def _intermediate_graphs(
    flags: RetrainFlags, workspace: Folder, spec: BackboneSpec, log: Log
) -> "IntermediateGraphs | None":
    if not flags.intermediate_store_frequency:
        return None
    from linnaeus.training.exporting.intermediate_graphs import IntermediateGraphs

    files = backbones.local_files(workspace, spec.fingerprint)
    return IntermediateGraphs(
        flags.intermediate_output_graphs_dir,
        flags.intermediate_store_frequency,
        flags.final_tensor_name,
        files / "tensorflow",
        ModelBackbone.of(spec),
        log,
    )


def _tell_point(point: CurvePoint, log: Log) -> None:
    if point.train_accuracy is not None:
        log.step(point.step, f"Train accuracy = {100 * point.train_accuracy:.1f}%")
    log.step(point.step, f"Cross entropy = {point.train_loss:f}")
    if point.validation_accuracy is not None:
        log.step(point.step, f"Validation accuracy = {100 * point.validation_accuracy:.1f}%")


def _write(flags: RetrainFlags, workspace: Folder, model: Model, log: Log) -> None:
    """The files that the original left, from the published model."""
    from linnaeus.training.exporting.published import opened

    with opened(workspace, model) as published, log.progress.step("Write the graph", None) as step:
        drop_in_outputs.write_labels(model.labels, flags.output_labels)
        drop_in_outputs.write_graph(published.folder, flags.output_graph, flags.final_tensor_name)
        drop_in_outputs.write_checkpoint(published.folder, flags.checkpoint_path)
        if flags.saved_model_dir:
            drop_in_outputs.write_saved_model(published.folder, flags.saved_model_dir)
        step.note(f"{flags.output_graph}, with the labels in {flags.output_labels}")


def report(model: Model, with_mistakes: bool) -> None:
    """The line for which people look, and the misclassified test images."""
    print(drop_in_outputs.accuracy_line(model))
    if not with_mistakes:
        return
    print("=== MISCLASSIFIED TEST IMAGES ===")
    for mistake in model.mistakes:
        print(plain(f"{mistake['uri']:>70}  {mistake['predicted']}"))
    sys.stdout.flush()


if __name__ == "__main__":
    run_program(main)
