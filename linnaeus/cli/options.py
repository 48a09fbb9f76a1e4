"""Arguments and options that several commands have."""

from collections.abc import Sequence
from typing import Annotated

import typer

from linnaeus import choices
from linnaeus.choices import Precision
from linnaeus.errors import ConfigurationError

_IMAGES_HELP = (
    "Folder or prefix (a label is the folder's name), or a CSV, JSONL or Parquet file with the "
    "columns uri[,label|labels,split,weight], or an S3 Inventory's manifest.json."
)
Images = Annotated[str, typer.Argument(metavar="IMAGES", help=_IMAGES_HELP)]
Changes = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="List nothing: put what this file (or folder of files) of S3 events or keys names "
        "into the last list of IMAGES.",
    ),
]
OptionalImages = Annotated[
    str | None, typer.Argument(metavar="IMAGES", show_default=False, help=_IMAGES_HELP)
]
OptionalModel = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME[:VERSION]", help="The model; its newest version by default."
    ),
]
ModelOfRun = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME[:VERSION]",
        help="What scoring does by this model, not what embedding does.",
    ),
]
Model = Annotated[str, typer.Option(metavar="NAME", help="The model.")]
ModelVersion = Annotated[
    str, typer.Option(metavar="NAME[:VERSION]", help="The model; its newest version by default.")
]
Backbone = Annotated[
    str,
    typer.Option(
        help="Network that turns pixels into embeddings, such as efficientnet-lite0, or a "
        "SavedModel folder; @SIZE and +mid refine it. docs/reference/backbones.md has all.",
    ),
]
PrecisionOption = Annotated[
    Precision, typer.Option(help="Arithmetic of the backbone; part of its fingerprint.")
]
Server = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="A TensorFlow Serving to ask (grpcs://HOST:PORT by TLS); by default one is started "
        "for the run.",
    ),
]
Output = Annotated[
    str | None, typer.Option(metavar="URI", help="Write the labels as plain files, too.")
]
OutputFormat = Annotated[choices.LabelFormat, typer.Option("--format", help="Of the plain files.")]
Payload = Annotated[
    choices.Payload,
    typer.Option(help="What is sent to the server; only embeddings are kept and reused."),
]
SkewGate = Annotated[
    bool,
    typer.Option(
        "--skew-gate/--no-skew-gate",
        help="Refuse a server that sees the model's golden images otherwise than this machine.",
    ),
]
MaxFailures = Annotated[
    int, typer.Option(min=0, help="More new failures than this end with exit status 3.")
]
BeamOptions = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="-- BEAM OPTIONS",
        show_default=False,
        help="Options of the Beam runner, such as --runner=DataflowRunner.",
    ),
]


PlanName = Annotated[
    str | None,
    typer.Option(
        "--plan",
        metavar="NAME",
        help="Do a slice of the run that `linnaeus plan --freeze` froze under this name (or id), "
        "instead of naming IMAGES.",
        rich_help_panel="Slices",
    ),
]
SliceOption = Annotated[
    str | None,
    typer.Option(
        "--slice",
        metavar="K/N",
        help="Which: 3/16 is the third of sixteen; auto/16 takes the number from the environment "
        "of a batch system.",
        rich_help_panel="Slices",
    ),
]


def chosen_slice(
    plan: str | None, one: str | None, others: Sequence[str]
) -> tuple[str, str] | None:
    """The plan and the slice, or None where IMAGES are named.

    Args:
        plan: `--plan`.
        one: `--slice`.
        others: parameters that the person gave, but for those that a slice has, too.

    Raises:
        ConfigurationError: both ways are mixed, or neither is whole.
    """
    if plan is None:
        if one is not None:
            raise ConfigurationError("--slice is of a frozen run: name it by --plan")
        if "images" not in others:
            raise ConfigurationError("name IMAGES, or a frozen run by --plan NAME --slice K/N")
        return None
    if others:
        raise ConfigurationError(
            f"{_shown(others[0])} says nothing of a slice, whose run is frozen: leave it or --plan "
            "out"
        )
    if one is None:
        raise ConfigurationError(f"say which slice of {plan}: --slice 3/16, or auto/16")
    return plan, one


def _shown(parameter: str) -> str:
    """A parameter as a person knows it."""
    names = {
        "images": "IMAGES or a Beam option",
        "beam_options": "a Beam option",
        "output_format": "--format",
    }
    return names.get(parameter, f"--{parameter.replace('_', '-')}")


def beam_arguments(options: Sequence[str] | None) -> list[str]:
    """The Beam options as Beam takes them.

    Raises:
        ConfigurationError: If a second IMAGES was given where Beam options belong.
    """
    arguments = list(options or [])
    if arguments and not arguments[0].startswith("-"):
        raise ConfigurationError(
            f"unexpected argument {arguments[0]!r}: name one IMAGES, and Beam's options after --"
        )
    return arguments
