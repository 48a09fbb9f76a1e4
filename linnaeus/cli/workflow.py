"""The scheduled job: runs a whole workflow, by one file."""

import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from linnaeus.cli.session import FAILED, Session
from linnaeus.cli.wording import facts_text
from linnaeus.errors import ConfigurationError

if TYPE_CHECKING:
    from linnaeus.workflow.file.config import Workflow
    from linnaeus.workflow.workflow_run import WorkflowRun


def run(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="The workflow file; linnaeus init writes one.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would do, take and cost.")
    ] = False,
    workflow_run: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="ID of the workflow run; commands of one run have the same.",
            show_default="the time, UTC",
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="STEP,STEP", help="Do only these steps."),
    ] = None,
    freeze: Annotated[
        Literal["embed", "score"] | None,
        typer.Option(help="Only plan that job, for slices that other processes do."),
    ] = None,
    slices: Annotated[
        int | None,
        typer.Option(min=2, help="With --freeze: at most so many slices.", show_default="16"),
    ] = None,
) -> None:
    """Run a workflow: list, embed, retrain, publish, label, report, as a file says."""
    from linnaeus.workflow.file.loading import read_workflow
    from linnaeus.workflow.workflow_run import check_id

    read = read_workflow(workflow)
    if [dry_run, only is not None, freeze is not None].count(True) > 1:
        raise ConfigurationError("choose one of --dry-run, --only and --freeze")
    if slices is not None and not freeze:
        raise ConfigurationError("--slices goes with --freeze embed or --freeze score")
    if workflow_run is not None:
        check_id(workflow_run)
    if dry_run:
        _forecast(session, read)
    elif freeze:
        _freeze(session, read, workflow_run, freeze, slices or 16)
    else:
        _run(session, read, workflow_run, only)


def _forecast(session: Session, workflow: "Workflow") -> None:
    from linnaeus.storage import Folder
    from linnaeus.workflow.forecast.text import text
    from linnaeus.workflow.steps.planning import expect

    found = expect(Folder(workflow.workspace), workflow, progress=session.progress)
    session.show(found, text(found))


def _freeze(
    session: Session,
    workflow: "Workflow",
    workflow_run: str | None,
    job: Literal["embed", "score"],
    slices: int,
) -> None:
    from linnaeus.workflow.freezing import FreezeRequest, freeze

    if workflow_run is None:
        raise ConfigurationError("--freeze needs the run's --id ID: others go on with it")
    frozen = freeze(workflow, FreezeRequest(workflow_run, job, slices), session.progress)
    session.show(frozen, facts_text(asdict(frozen)))


def _run(
    session: Session, workflow: "Workflow", workflow_run: str | None, only: str | None
) -> None:
    from linnaeus.workflow.engine import WorkflowRunRequest, new_id, run_workflow, steps_of, trouble
    from linnaeus.workflow.workflow_run import STEPS

    steps = steps_of(only) if only is not None else STEPS
    request = WorkflowRunRequest(workflow_run or new_id(), steps, unexpected=_shower(session))
    with _ended_like_interrupts():
        done = run_workflow(workflow, request, session.progress)
    session.show(asdict(done), run_text(done))
    if wrong := trouble(done, steps):
        session.fail(f"{wrong.name}: {wrong.line}", FAILED, wrong.status)


def _shower(session: Session) -> Callable[[Exception], None]:
    return traceback.print_exception if session.debug else lambda _: None


@contextmanager
def _ended_like_interrupts() -> Iterator[None]:
    """Let a scheduler's SIGTERM end a run as Ctrl-C does, so that the next one need not wait."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_text(workflow_run: "WorkflowRun") -> str:
    """A line a step, and what all comes to."""
    lines = [f"{step.name:<8}  {step.status:<7}  {step.line}" for step in workflow_run.steps]
    return "\n".join([*lines, *_expected_lines(workflow_run), _end_text(workflow_run)])


def _expected_lines(workflow_run: "WorkflowRun") -> Iterator[str]:
    """The plan against what became of it."""
    from linnaeus.workflow.forecast.against_actual import against_actual, table_text

    if rows := against_actual(workflow_run.forecast, workflow_run):
        yield from ("", table_text(rows), "")


def _end_text(workflow_run: "WorkflowRun") -> str:
    named = f"Run {workflow_run.id} of {workflow_run.workflow}"
    if wrong := workflow_run.trouble:
        return f"{named} stopped at {wrong.name}"
    done = {s.name: s.facts.get("done", 0) for s in workflow_run.steps if s.status == "done"}
    embedded, labelled = (f"{done.get(name, 0):,}" for name in ("embed", "score"))
    if not set(done) - {"report", "manifest"}:
        return f"{named}: nothing to do"
    return f"{named}: {embedded} embedded, {labelled} labelled"
