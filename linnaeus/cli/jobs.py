"""The jobs over a bucket: manifest, plan, embed, score, and commit for what was left behind."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from linnaeus import layout
from linnaeus.cli.options import (
    DEFAULT_BACKBONE,
    Backbone,
    BeamOptions,
    Images,
    MaxFailures,
    ModelVersion,
    Output,
    OutputFormat,
    Payload,
    PrecisionOption,
    Server,
    SkewGate,
    beam_arguments,
)
from linnaeus.cli.session import TOO_MANY_FAILURES, Session
from linnaeus.cli.wording import facts_text, run_text
from linnaeus.progress import count_text

if TYPE_CHECKING:
    from linnaeus.workspace import RunSummary


def manifest(session: Session, images: Images) -> None:
    """Freeze the list of objects."""
    frozen = session.workspace.manifest(images)
    objects = count_text(frozen.objects, "objects")
    session.show(frozen, f"{objects} of {frozen.source} in manifest {frozen.id}")


def plan(
    session: Session,
    images: Images,
    backbone: Backbone = DEFAULT_BACKBONE,
    precision: PrecisionOption = "float32",
) -> None:
    """Say what a run would read, compute and reuse."""
    summary = session.workspace.plan(images, backbone=backbone, precision=precision)
    session.show(summary, facts_text(asdict(summary)))


def embed(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: Images,
    beam_options: BeamOptions = None,
    backbone: Backbone = DEFAULT_BACKBONE,
    precision: PrecisionOption = "float32",
    max_failures: MaxFailures = 0,
) -> None:
    """Turn every new image into an embedding."""
    beam = beam_arguments(beam_options)
    run = session.workspace.embed(images, backbone=backbone, precision=precision, beam_options=beam)
    _conclude(session, run, max_failures)


def score(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: Images,
    model: ModelVersion,
    beam_options: BeamOptions = None,
    server: Server = None,
    output: Output = None,
    output_format: OutputFormat = "parquet",
    payload: Payload = "embedding",
    skew_gate: SkewGate = True,
    max_failures: MaxFailures = 0,
) -> None:
    """Label every image that the model has not labelled yet."""
    beam = beam_arguments(beam_options)
    run = session.workspace.score(
        images,
        model,
        server=server,
        output=output,
        format=output_format,
        payload=payload,
        skew_gate=skew_gate,
        beam_options=beam,
    )
    _conclude(session, run, max_failures)


def commit(
    session: Session,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    max_failures: MaxFailures = 0,
) -> None:
    """Make the results of a finished run visible, where its launcher did not."""
    _conclude(session, session.workspace.commit(run), max_failures)


def _conclude(session: Session, run: RunSummary, max_failures: int) -> None:
    """Failures that were known before the run are not among its `failed`."""
    session.show(run, run_text(run))
    if run.counts.new_failures > max_failures:
        from linnaeus.storage import Folder

        failures = Folder(session.workspace_uri).uri_of(layout.FAILURES)
        session.fail(
            f"{count_text(run.counts.new_failures, 'new failures')}, more than --max-failures "
            f"{max_failures:,}: the table {failures} says why each, and so does "
            f"`linnaeus status {run.run_id}`",
            TOO_MANY_FAILURES,
            "TooManyFailures",
        )
