"""Trying again what failed."""

from __future__ import annotations

from typing import Annotated

import typer

from linnaeus.cli.options import (
    DEFAULT_BACKBONE,
    Backbone,
    BeamOptions,
    Images,
    Output,
    OutputFormat,
    Payload,
    PrecisionOption,
    Server,
    SkewGate,
    beam_arguments,
)
from linnaeus.cli.session import Session
from linnaeus.cli.wording import run_text


def retry(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: Images,
    beam_options: BeamOptions = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:VERSION]", help="Score again, by this model. Without it: embed again."
        ),
    ] = None,
    server: Server = None,
    output: Output = None,
    output_format: OutputFormat = "parquet",
    payload: Payload = "embedding",
    skew_gate: SkewGate = True,
    backbone: Backbone = DEFAULT_BACKBONE,
    precision: PrecisionOption = "float32",
    code: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODE",
            help="Try only failures of this code, such as TIMEOUT or CORRUPT; several times for "
            "several. By default whatever may pass.",
        ),
    ] = None,
) -> None:
    """Try again what failed, however often it was tried; nothing new is looked at.

    What fails once more is no new failure: the counts tell of it, and the exit status is 0.
    """
    beam = beam_arguments(beam_options)
    run = session.workspace.retry(
        images,
        model=model,
        server=server,
        output=output,
        format=output_format,
        payload=payload,
        skew_gate=skew_gate,
        backbone=backbone,
        precision=precision,
        codes=code or (),
        beam_options=beam,
    )
    session.show(run, run_text(run))
