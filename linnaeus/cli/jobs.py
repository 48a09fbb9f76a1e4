"""The jobs over a bucket: manifest, plan, embed, score; what was left behind: retry, commit.

And what would be wrong with one: preflight.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from linnaeus import layout
from linnaeus.choices import DEFAULT_BACKBONE
from linnaeus.cli.options import (
    Backbone,
    BeamOptions,
    Changes,
    Images,
    MaxFailures,
    ModelOfRun,
    OptionalImages,
    OptionalModel,
    Output,
    OutputFormat,
    Payload,
    PlanName,
    PrecisionOption,
    Server,
    SkewGate,
    SliceOption,
    beam_arguments,
    chosen_slice,
)
from linnaeus.cli.session import FAILED, TOO_MANY_FAILURES, Session
from linnaeus.cli.wording import facts_text, frozen_text, run_text, slice_text
from linnaeus.errors import ConfigurationError
from linnaeus.progress import count_text

if TYPE_CHECKING:
    from beam_pipelines.preflight import Finding
    from linnaeus.jobs import RunSummary


def manifest(session: Session, images: Images, changes: Changes = None) -> None:
    """Freeze the list of objects."""
    frozen = session.workspace.manifest(images, changes)
    objects = count_text(frozen.objects, "objects")
    session.show(frozen, f"{objects} of {frozen.source} in manifest {frozen.id}")


def plan(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: Images,
    backbone: Backbone = DEFAULT_BACKBONE,
    precision: PrecisionOption = "float32",
    changes: Changes = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Freeze the run under this name, for slices: embed and score take --plan NAME.",
            rich_help_panel="Slices",
        ),
    ] = None,
    model: ModelOfRun = None,
    payload: Payload = "embedding",
) -> None:
    """Say what a run would read, compute and reuse; or freeze it."""
    if freeze is None:
        _refuse(session, ["model", "payload"], "belongs to --freeze NAME")
        summary = session.workspace.plan(
            images, backbone=backbone, precision=precision, changes=changes
        )
        session.show(summary, facts_text(asdict(summary)))
        return
    if model is None:
        _refuse(session, ["payload"], "belongs to a --model")
    else:
        _refuse(
            session, ["backbone", "precision"], f"is the model's: leave it or --model {model} out"
        )
    frozen = session.workspace.freeze(
        images,
        freeze,
        model=model,
        backbone=backbone,
        precision=precision,
        payload=payload,
        changes=changes,
    )
    session.show(frozen, frozen_text(frozen))


def _refuse(session: Session, parameters: Sequence[str], why: str) -> None:
    for parameter in parameters:
        if parameter in session.given:
            raise ConfigurationError(f"--{parameter} {why}")


_OF_A_SLICE = {"plan", "slice", "server", "skew_gate", "workspace", "as_json", "debug"}


def _others(session: Session) -> list[str]:
    """What was given and says nothing of a slice."""
    return sorted(session.given - _OF_A_SLICE, key=lambda name: (name != "images", name))


def embed(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: OptionalImages = None,
    beam_options: BeamOptions = None,
    backbone: Backbone = DEFAULT_BACKBONE,
    precision: PrecisionOption = "float32",
    changes: Changes = None,
    max_failures: MaxFailures = 0,
    plan: PlanName = None,
    slice: SliceOption = None,
) -> None:
    """Turn every new image into an embedding, or do a slice of that."""
    if chosen := chosen_slice(plan, slice, _others(session)):
        done = session.workspace.embed_slice(*chosen)
        session.show(done, slice_text(done))
        return
    assert images is not None
    beam = beam_arguments(beam_options)
    run = session.workspace.embed(
        images, backbone=backbone, precision=precision, beam_options=beam, changes=changes
    )
    _conclude(session, run, max_failures)


def score(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: OptionalImages = None,
    model: OptionalModel = None,
    beam_options: BeamOptions = None,
    server: Server = None,
    output: Output = None,
    output_format: OutputFormat = "parquet",
    payload: Payload = "embedding",
    skew_gate: SkewGate = True,
    changes: Changes = None,
    max_failures: MaxFailures = 0,
    plan: PlanName = None,
    slice: SliceOption = None,
) -> None:
    """Label every image that the model has not labelled yet, or do a slice of that."""
    if chosen := chosen_slice(plan, slice, _others(session)):
        done = session.workspace.score_slice(*chosen, server=server, skew_gate=skew_gate)
        session.show(done, slice_text(done))
        return
    if model is None:
        raise ConfigurationError("name the model by --model NAME")
    assert images is not None
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
        changes=changes,
    )
    _conclude(session, run, max_failures)


def retry(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: Images,
    beam_options: BeamOptions = None,
    model: ModelOfRun = None,
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


def commit(
    session: Session,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option("--plan", metavar="NAME", help="The run that was frozen under this name."),
    ] = None,
    max_failures: MaxFailures = 0,
) -> None:
    """Make the results of a finished run visible, where its launcher did not."""
    if (run is None) == (plan is None):
        raise ConfigurationError("name the run, or its plan by --plan NAME")
    workspace = session.workspace
    done = workspace.commit(run) if run else workspace.commit_plan(plan or "")
    _conclude(session, done, max_failures)


def preflight(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: Images,
    beam_options: BeamOptions = None,
    model: ModelOfRun = None,
    server: Server = None,
    output: Output = None,
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
    session.show([asdict(one) for one in findings], _findings_text(findings))
    if any(one.fatal for one in findings):
        raise typer.Exit(FAILED)


def _findings_text(findings: "Sequence[Finding]") -> str:
    words = {True: "wrong", False: "mind "}
    lines = [f"{words[one.fatal]}  {one.problem}\n       {one.remedy}" for one in findings]
    return "\n".join(lines) or "Nothing wrong to be seen"


def _conclude(session: Session, run: "RunSummary", max_failures: int) -> None:
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
