"""Small models: a published model as TFLite files for telephones and small computers."""

from typing import TYPE_CHECKING, Annotated

import typer

from linnaeus.cli.options import Images, ModelVersion
from linnaeus.cli.session import Session

if TYPE_CHECKING:
    from training.tflite.export import SmallModel, SmallModels

KINDS = ("float32", "dynamic", "int8")


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


def small_models_text(made: "SmallModels") -> str:
    """A line a file, after one of the model they were made from; then what to beware of."""
    rows = [("SavedModel", made.size_bytes, made.accuracy, made.model)]
    rows += [(file.kind, file.size_bytes, file.accuracy, file.uri) for file in made.files]
    head = f"{'kind':<10}  {'bytes':>12}  accuracy on {made.test_images:,} test images"
    lines = [f"{kind:<10}  {size:>12,}  {right:.3f}  {uri}" for kind, size, right, uri in rows]
    warnings = [_warning(file) for file in made.files if file.falls_short]
    return "\n".join([head, *lines, *warnings])


def _warning(file: "SmallModel") -> str:
    return (
        f"Warning: the {file.kind} file lost {file.points_lost:.1f} percentage points of accuracy; "
        "float32 loses none"
    )
