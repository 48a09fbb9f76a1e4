"""Runs a workflow: step after step, each recorded, up to the first that fails or is refused.

Nothing that a run made is lost: the next one goes on with its embeddings, runs and candidates.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from linnaeus.errors import ConfigurationError, GateFailed, LinnaeusError
from linnaeus.plain_text import one_line
from linnaeus.progress import SILENT, Progress
from linnaeus.storage import Folder
from linnaeus.workflow.context import Context, Outcome, Work
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.lock import LOCK_EXPIRY, WorkflowLock, locked
from linnaeus.workflow.steps.embedding import embed
from linnaeus.workflow.steps.evaluating import evaluate
from linnaeus.workflow.steps.listing import list_images
from linnaeus.workflow.steps.planning import plan
from linnaeus.workflow.steps.publishing import publish
from linnaeus.workflow.steps.reporting import report
from linnaeus.workflow.steps.scoring import score
from linnaeus.workflow.steps.training import train
from linnaeus.workflow.workflow_run import STEPS, Step, StepName, WorkflowRun

WORK: dict[StepName, Work] = {
    "manifest": list_images,
    "plan": plan,
    "embed": embed,
    "train": train,
    "evaluate": evaluate,
    "publish": publish,
    "score": score,
    "report": report,
}


class WorkflowRunStopped(LinnaeusError):  # noqa: N818 - what is the case
    """A step before the requested ones went wrong."""


@dataclass(frozen=True)
class WorkflowRunRequest:
    """Which run, and which of its steps this process does."""

    id: str
    only: Sequence[StepName] = STEPS
    lock_expiry: timedelta = LOCK_EXPIRY
    """Another run that has not renewed its lock for this long counts as dead."""
    unexpected: Callable[[Exception], None] = lambda _: None
    """Called with each error that no step expected; the record has one line of it."""


def new_id() -> str:
    """The id of a workflow run that begins now."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def steps_of(words: str) -> tuple[StepName, ...]:
    """The steps that `embed,train` names, in their order.

    Raises:
        ConfigurationError: there is no such step.
    """
    names = [word.strip() for word in words.split(",")]
    if unknown := [name for name in names if name not in STEPS]:
        raise ConfigurationError(f"there is no step {unknown[0]!r}: choose of {', '.join(STEPS)}")
    return tuple(step for step in STEPS if step in names)


def run_workflow(
    workflow: Workflow, request: WorkflowRunRequest | None = None, progress: Progress = SILENT
) -> WorkflowRun:
    """Run a workflow, or some of its steps, and return the run's record.

    A step that went wrong is in the record and ends the run; only the report is made after it.

    Raises:
        WorkflowLocked: another run is going on.
        LinnaeusError: the workspace cannot be read or written at all.
    """
    request = request or WorkflowRunRequest(new_id())
    workspace = Folder(workflow.workspace)
    lock = WorkflowLock(
        workspace, workflow.name, request.id, workflow.schedule, request.lock_expiry
    )
    with locked(lock, progress):
        context = open_workflow_run(workspace, workflow, request.id, progress)
        context.unexpected = request.unexpected
        if tuple(request.only) != STEPS[-1:]:
            refuse_after_trouble(context.run, request.only)
        do(context, request.only)
        return context.run


def open_workflow_run(
    workspace: Folder, workflow: Workflow, workflow_run: str, progress: Progress
) -> Context:
    """A workflow run from its record, or a new one."""
    kept = WorkflowRun.load(workspace, workflow.name, workflow_run)
    return Context(
        workspace, workflow, kept or WorkflowRun.begin(workflow.name, workflow_run), progress
    )


def trouble(run: WorkflowRun, steps: Sequence[StepName] = STEPS) -> Step | None:
    """The first of some steps that went wrong."""
    reached = (run.step(name) for name in steps)
    return next((step for step in reached if step and step.status in ("failed", "refused")), None)


def refuse_after_trouble(run: WorkflowRun, only: Sequence[StepName]) -> None:
    """Refuse to go on behind a step that went wrong.

    Raises:
        WorkflowRunStopped: a step before the first of these did.
    """
    earlier = trouble(run, STEPS[: STEPS.index(only[0])])
    if earlier:
        raise WorkflowRunStopped(f"run {run.id} stopped at {earlier.name}: {earlier.line}")


def do(context: Context, only: Sequence[StepName]) -> None:
    """Do some steps, up to the first that goes wrong, and the report, if it is among them."""
    if tuple(only) == STEPS[-1:]:
        _do(context, "report", WORK["report"], None)
        return
    done = {step.name: step for step in context.run.steps if step.status == "done"}
    context.run = replace(context.run, finished_at=None)  # of the commands before this
    for name in only:
        context.run = _without(context.run, name)
    for name in only:
        if name == "report" or not trouble(context.run, STEPS[: STEPS.index(name)]):
            _do(context, name, WORK[name], done.get(name))


def do_instead(context: Context, name: StepName, work: Work) -> None:
    """Do something towards a step; it is recorded only if it goes wrong."""
    step = _attempt(context, name, work)
    if step.status in ("failed", "refused"):
        _record(context, step)


def _without(run: WorkflowRun, name: StepName) -> WorkflowRun:
    return replace(run, steps=tuple(step for step in run.steps if step.name != name))


def _do(context: Context, name: StepName, work: Work, earlier: Step | None) -> None:
    """Do a step and record it; one done before that has nothing to do now stays as it was."""
    step = _attempt(context, name, work)
    _record(context, earlier if earlier and step.status == "skipped" else step)


def _record(context: Context, step: Step) -> None:
    wrong = step.status in ("failed", "refused")
    context.run = context.run.after(step)
    if wrong or step.name == STEPS[-1]:
        context.run = context.run.finished()
    with context.progress.step(f"[{step.name}]", None) as shown:
        shown.note(step.line if step.status == "done" else f"{step.status}: {step.line}")
    try:
        context.run.save(context.workspace)
    except LinnaeusError as error:
        if not wrong:
            unsaved = replace(step, status="failed", line=f"the record cannot be kept: {error}")
            context.run = context.run.after(unsaved)


def _attempt(context: Context, name: StepName, work: Work) -> Step:
    started = time.monotonic()

    def ended(
        status: Literal["done", "skipped", "failed", "refused"], line: str, facts: Any = None
    ) -> Step:
        seconds = round(time.monotonic() - started, 3)
        return Step(name, status, " ".join(line.split()), seconds, facts or {})

    try:
        outcome: Outcome = work(context)
    except GateFailed as refusal:
        return ended("refused", str(refusal), getattr(refusal, "facts", {}))
    except Exception as error:
        if not isinstance(error, LinnaeusError | OSError):
            context.unexpected(error)
        return ended("failed", one_line(error))
    except BaseException:
        line = "interrupted; the same command goes on where it stopped"
        context.run = context.run.after(ended("failed", line)).finished()
        with suppress(LinnaeusError):
            context.run.save(context.workspace)
        raise
    return ended(outcome.status, outcome.line, outcome.facts)
