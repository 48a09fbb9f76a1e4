"""What is done with trained models: evaluate, serve, compare, convert, and label single photos."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from linnaeus.cli.options import Images, ModelVersion, Server
from linnaeus.cli.session import FAILED, Session
from linnaeus.cli.wording import evaluation_text, photos_text
from linnaeus.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linnaeus.storage import Folder
    from linnaeus.training.tflite.export import SmallModel, SmallModels
    from serving.client.skew import Comparison
    from serving.models.model_config import ModelConfig

KINDS = ("float32", "dynamic", "int8")


def evaluate(session: Session, images: Images, model: ModelVersion) -> None:
    """Test a model on labelled images."""
    metrics = session.workspace.evaluate(images, model)
    session.show(metrics, evaluation_text(metrics))


def serve(
    session: Session,
    model: Annotated[
        list[str],
        typer.Option(
            metavar="NAME[:VERSION]",
            help="The model, by default its newest version; repeat it for others.",
        ),
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC; 0: any free one.")] = 8500,
    rest_api_port: Annotated[
        int, typer.Option(min=0, max=65535, help="REST; 0: any free one.")
    ] = 8501,
    host: Annotated[
        str, typer.Option(help="Address to listen on; at 0.0.0.0 whoever reaches it may ask.")
    ] = "127.0.0.1",
) -> None:
    """Serve models over TensorFlow Serving's protocol until Ctrl-C."""
    from linnaeus.storage import Folder
    from serving.model_server import stop_signals

    served = _served(Folder(session.workspace_uri), model)
    stop = stop_signals()
    with session.progress.step("Load models", None):
        from serving.server import EmbeddedServer

        server = EmbeddedServer(served, port=port, rest_api_port=rest_api_port, host=host)
        server.start()
    places = {"host": host, "port": server.port, "rest_api_port": server.rest_api_port}
    try:
        session.show(
            {"models": model, **places},
            f"Serving {', '.join(model)}: gRPC at {host}:{server.port}, "
            f"REST at {host}:{server.rest_api_port}; Ctrl-C stops it",
        )
        stop.wait()
    finally:
        server.stop()


def _served(folder: Folder, references: Sequence[str]) -> list[ModelConfig]:
    """What to serve: the newest version of a model, or all the versions that are named of it.

    Raises:
        ConfigurationError: one of them is not there.
    """
    from linnaeus.models import load_model, model_prefix, parse_reference
    from serving.models.model_config import ModelConfig
    from serving.models.version_folder import NEWEST, specific

    for reference in references:
        load_model(folder, reference)
    versions: dict[str, set[int]] = {}
    for name, version in map(parse_reference, references):
        versions.setdefault(name, set()).update([] if version is None else [version])
    return [
        ModelConfig(name, folder.uri_of(model_prefix(name)), specific(*named) if named else NEWEST)
        for name, named in versions.items()
    ]


def skew(
    session: Session,
    model: ModelVersion,
    server: Server = None,
) -> None:
    """Compare a server with this machine: every golden image, every way of sending it."""
    compared = session.workspace.skew(model, server=server)
    rows = [{**asdict(one), "passes": one.passes} for one in compared]
    session.show(rows, _compared_text(compared))
    if failed := sum(not one.passes for one in compared):
        session.fail(
            f"{failed} of {len(compared)} comparisons are beyond what is allowed; serve the "
            "version as it was exported, with the release that trained it",
            FAILED,
            "Skew",
        )


def _compared_text(compared: Sequence[Comparison]) -> str:
    width = max(len(one.image) for one in compared)
    what = max(len(one.what) for one in compared)
    return "\n".join(
        f"{one.payload:<9}  {one.image:<{width}}  {one.what:<{what}}  {one.difference:8.1e}"
        f"  {'ok' if one.passes else f'beyond {one.bound:.1e}'}"
        for one in compared
    )


def tflite(
    session: Session,
    images: Images,
    model: ModelVersion,
    output: Annotated[str, typer.Option(help="Folder or URI that the files are written to.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="float32|dynamic|int8",
            help="float32: exact; dynamic: weights of 8 bits; int8: all arithmetic in 8 bits, "
            "calibrated on the training images. May be repeated.",
            show_default="all three",
        ),
    ] = None,
) -> None:
    """Convert a model to TFLite files, and test each on labelled images."""
    made = session.workspace.tflite(images, model, output, kind or KINDS)
    session.show(made, small_models_text(made))


def small_models_text(made: SmallModels) -> str:
    """A line a file, after one of the model they were made from; then what to beware of."""
    rows = [("SavedModel", made.size_bytes, made.accuracy, made.model)]
    rows += [(file.kind, file.size_bytes, file.accuracy, file.uri) for file in made.files]
    head = f"{'kind':<10}  {'bytes':>12}  accuracy on {made.test_images:,} test images"
    lines = [f"{kind:<10}  {size:>12,}  {right:.3f}  {uri}" for kind, size, right, uri in rows]
    warnings = [_loss_text(file) for file in made.files if file.falls_short]
    return "\n".join([head, *lines, *warnings])


def _loss_text(file: SmallModel) -> str:
    return (
        f"Warning: the {file.kind} file lost {file.points_lost:.1f} percentage points of accuracy; "
        "float32 loses none"
    )


def label(
    session: Session,
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO", help="Image files.")],
    model: ModelVersion,
) -> None:
    """Label single photos, the best label first."""
    labelled = session.workspace.label(photos, model)
    errors = [photo.error for photo in labelled if photo.error]
    if session.as_json or len(errors) < len(labelled):
        session.show([asdict(photo) for photo in labelled], photos_text(labelled))
    if errors:
        session.fail("\n".join(map(plain, errors)), FAILED, "PhotoErrors")
