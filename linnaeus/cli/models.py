"""What is done with models: train, evaluate, serve, and label single photos."""

from __future__ import annotations

import signal
import threading
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from linnaeus.cli.options import (
    DEFAULT_BACKBONE,
    Backbone,
    Images,
    Model,
    ModelVersion,
    PrecisionOption,
)
from linnaeus.cli.session import FAILED, Session
from linnaeus.cli.wording import accuracy_text, evaluation_text
from linnaeus.errors import ConfigurationError
from training.config import LayersConfig, LinearConfig, SplitConfig, TrainConfig

if TYPE_CHECKING:
    from linnaeus.records import PhotoLabels

_LAYERS = LayersConfig()
_SPLIT = SplitConfig()


def _head_option(help_text: str, default: object) -> Any:
    return typer.Option(help=help_text, show_default=str(default), rich_help_panel="Head of layers")


def train(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: Images,
    model: Model,
    backbone: Backbone = DEFAULT_BACKBONE,
    precision: PrecisionOption = "float32",
    head: Annotated[
        Literal["linear", "layers"],
        typer.Option(help="linear: softmax regression by L-BFGS; layers: Keras layers."),
    ] = "linear",
    l2: Annotated[
        list[float] | None,
        typer.Option(
            help="Regularisation; several, for a linear head, are candidates.",
            show_default=f"ten candidates; layers: {_LAYERS.l2}",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    hidden: Annotated[
        list[int] | None, _head_option("Size of a hidden layer; may be repeated.", "none")
    ] = None,
    dropout: Annotated[
        float | None, _head_option("Share of activations dropped.", _LAYERS.dropout)
    ] = None,
    epochs: Annotated[
        int | None, _head_option("Passes over the training set, at most.", _LAYERS.epochs)
    ] = None,
    batch_size: Annotated[int | None, _head_option("Images a step.", _LAYERS.batch_size)] = None,
    optimizer: Annotated[
        Literal["adam", "rmsprop", "sgd"] | None,
        _head_option("Optimiser.", _LAYERS.optimizer),
    ] = None,
    learning_rate: Annotated[
        float | None, _head_option("Step size.", _LAYERS.learning_rate)
    ] = None,
    label_smoothing: Annotated[
        float | None,
        _head_option("Share of a label spread over all classes.", _LAYERS.label_smoothing),
    ] = None,
    patience: Annotated[
        int | None, _head_option("Epochs without improvement before it stops.", _LAYERS.patience)
    ] = None,
    validation_percentage: Annotated[
        float, typer.Option(min=0, max=100, help="Held out to choose.", rich_help_panel="Split")
    ] = _SPLIT.validation_percentage,
    testing_percentage: Annotated[
        float, typer.Option(min=0, max=100, help="Held out to test.", rich_help_panel="Split")
    ] = _SPLIT.testing_percentage,
    split_rule: Annotated[
        Literal["retrain", "root-relative"],
        typer.Option(
            help="Hash the full path as retrain.py did, or the path below IMAGES, which "
            "survives a move; a split column comes before both.",
            rich_help_panel="Split",
        ),
    ] = "root-relative",
) -> None:
    """Train a model on embedded images, test it and export it."""
    config = TrainConfig(
        backbone=backbone,
        precision=precision,
        head=head,
        split=SplitConfig(
            validation_percentage,
            testing_percentage,
            by="full-path" if split_rule == "retrain" else "root-relative",
        ),
        seed=seed,
    )
    layers = {
        "hidden": tuple(hidden) if hidden else None,
        "dropout": dropout,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "label_smoothing": label_smoothing,
        "patience": patience,
    }
    given = {name: value for name, value in layers.items() if value is not None}
    config = _with_head(config, l2 or [], given)
    trained = session.workspace.train(images, model, config)
    test = trained.metrics["test"]
    session.show(
        trained,
        f"Model {trained.name}:{trained.version} ({', '.join(trained.labels)}): "
        f"test accuracy {accuracy_text(test)}",
    )


def _with_head(config: TrainConfig, l2: list[float], layers: dict[str, Any]) -> TrainConfig:
    if config.head == "linear":
        if layers:
            option = next(iter(layers)).replace("_", "-")
            raise ConfigurationError(f"--{option} belongs to a head of layers: add --head layers")
        return replace(config, linear=LinearConfig(tuple(l2))) if l2 else config
    if len(l2) > 1:
        raise ConfigurationError("a head of layers takes one --l2, not several")
    if l2:
        layers = {**layers, "l2": l2[0]}
    return replace(config, layers=replace(config.layers, **layers))


def evaluate(session: Session, images: Images, model: ModelVersion) -> None:
    """Test a model on labelled images."""
    metrics = session.workspace.evaluate(images, model)
    session.show(metrics, evaluation_text(metrics))


def serve(
    session: Session,
    model: Annotated[list[str], typer.Option(metavar="NAME", help="The model; may be repeated.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC; 0: any free one.")] = 8500,
    rest_api_port: Annotated[
        int, typer.Option(min=0, max=65535, help="REST; 0: any free one.")
    ] = 8501,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")
    ] = "127.0.0.1",
) -> None:
    """Serve models over TensorFlow Serving's protocol until Ctrl-C."""
    from linnaeus.models import check_name, load_model, model_prefix
    from linnaeus.storage import Folder

    folder = Folder(session.workspace_uri)
    for name in model:
        check_name(name)
        load_model(folder, name)

    uris = {name: folder.uri_of(model_prefix(name)) for name in model}
    stop = _stop_signal()
    with session.progress.step("Load models", None):
        from serving.server import EmbeddedServer

        server = EmbeddedServer(uris, port=port, rest_api_port=rest_api_port, host=host)
        server.start()
    try:
        session.show(
            {
                "models": model,
                "host": host,
                "port": server.port,
                "rest_api_port": server.rest_api_port,
            },
            f"Serving {', '.join(model)}: gRPC at {host}:{server.port}, "
            f"REST at {host}:{server.rest_api_port}; Ctrl-C stops it",
        )
        stop.wait()
    finally:
        server.stop()


def _stop_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def label(
    session: Session,
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO", help="Image files.")],
    model: ModelVersion,
) -> None:
    """Label single photos, the best label first."""
    labelled = session.workspace.label(photos, model)
    errors = [photo.error for photo in labelled if photo.error]
    if session.as_json or len(errors) < len(labelled):
        session.show([asdict(photo) for photo in labelled], _photos_text(labelled))
    if errors:
        session.fail("\n".join(errors), FAILED, "PhotoErrors")


def _photos_text(photos: list[PhotoLabels]) -> str:
    """The photos that have labels, with headings where several were asked for."""
    blocks = []
    for photo in (one for one in photos if not one.error):
        heading = [f"{photo.path}:"] if len(photos) > 1 else []
        lines = [f"{label} (score={score:.5f})" for label, score in photo.labels]
        blocks.append("\n".join([*heading, *lines]))
    return "\n\n".join(blocks)
