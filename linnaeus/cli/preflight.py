"""What is wrong with a job before it is submitted."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from linnaeus.cli.options import BeamOptions, Images, beam_arguments
from linnaeus.cli.session import FAILED, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_pipelines.preflight import Finding


def preflight(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: Images,
    beam_options: BeamOptions = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME[:VERSION]", help="Look at a scoring run, not an embedding one."),
    ] = None,
    server: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="As of score.")] = None,
    output: Annotated[str | None, typer.Option(metavar="URI", help="As of score.")] = None,
    flink: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Flink's REST interface, where --flink_master is not given."
        ),
    ] = None,
) -> None:
    """Say what is wrong with embed, or with score, before it is submitted to a cluster."""
    findings = session.workspace.preflight(
        images,
        model,
        server=server,
        output=output,
        flink=flink,
        beam_options=beam_arguments(beam_options),
    )
    session.show([asdict(one) for one in findings], _text(findings))
    if any(one.fatal for one in findings):
        raise typer.Exit(FAILED)


def _text(findings: "Sequence[Finding]") -> str:
    words = {True: "wrong", False: "mind "}
    lines = [f"{words[one.fatal]}  {one.problem}\n       {one.remedy}" for one in findings]
    return "\n".join(lines) or "Nothing wrong to be seen"
