"""Runs a night: step after step, each recorded, up to the first that fails or is refused.

Nothing of a night is lost: embeddings, runs and candidates are found again by the next one.
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
from linnaeus.workflow.lock import TURN, Turn, taken
from linnaeus.workflow.night import STEPS, Night, Step, StepName
from linnaeus.workflow.steps.embedding import embed
from linnaeus.workflow.steps.evaluating import evaluate
from linnaeus.workflow.steps.listing import list_images
from linnaeus.workflow.steps.planning import plan
from linnaeus.workflow.steps.publishing import publish
from linnaeus.workflow.steps.reporting import report
from linnaeus.workflow.steps.scoring import score
from linnaeus.workflow.steps.training import train

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


class NightStopped(LinnaeusError):  # noqa: N818 - what is the case
    """A step before those that are asked for went wrong."""


@dataclass(frozen=True)
class NightRequest:
    """Which night, and which of its steps this process does."""

    night: str
    only: Sequence[StepName] = STEPS
    turn: timedelta = TURN
    """Without a sign of life for so long, another night is taken for dead."""
    unexpected: Callable[[Exception], None] = lambda _: None
    """Is shown what no step foresaw, beside the line that the record has."""


def night_id() -> str:
    """The id of a night that begins now."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def steps_of(words: str) -> tuple[StepName, ...]:
    """The steps that `embed,train` names, in their order.

    Raises:
        ConfigurationError: there is no such step.
    """
    asked = [word.strip() for word in words.split(",")]
    if unknown := [word for word in asked if word not in STEPS]:
        raise ConfigurationError(f"there is no step {unknown[0]!r}: choose of {', '.join(STEPS)}")
    return tuple(step for step in STEPS if step in asked)


def run_night(
    workflow: Workflow, request: NightRequest | None = None, progress: Progress = SILENT
) -> Night:
    """Run a night, or some steps of it, and return its record.

    A step that went wrong is in the record and ends the night; only the report is made after it.

    Raises:
        AnotherNight: another one is going on.
        LinnaeusError: the workspace cannot be read or written at all.
    """
    request = request or NightRequest(night_id())
    workspace = Folder(workflow.workspace)
    turn = Turn(workspace, workflow.name, request.night, workflow.schedule, request.turn)
    with taken(turn, progress):
        context = open_night(workspace, workflow, request.night, progress)
        context.unexpected = request.unexpected
        if tuple(request.only) != STEPS[-1:]:
            refuse_after_trouble(context.night, request.only)
        do(context, request.only)
        return context.night


def open_night(workspace: Folder, workflow: Workflow, night: str, progress: Progress) -> Context:
    """A night from its record, or a new one."""
    kept = Night.load(workspace, workflow.name, night)
    return Context(workspace, workflow, kept or Night.begin(workflow.name, night), progress)


def trouble(night: Night, steps: Sequence[StepName] = STEPS) -> Step | None:
    """The first of some steps that went wrong."""
    found = (night.step(name) for name in steps)
    return next((one for one in found if one and one.status in ("failed", "refused")), None)


def refuse_after_trouble(night: Night, only: Sequence[StepName]) -> None:
    """Refuse to go on behind a step that went wrong.

    Raises:
        NightStopped: a step before the first of these did.
    """
    earlier = trouble(night, STEPS[: STEPS.index(only[0])])
    if earlier:
        raise NightStopped(f"night {night.night} stopped at {earlier.name}: {earlier.line}")


def do(context: Context, only: Sequence[StepName]) -> None:
    """Do some steps, up to the first that goes wrong, and the report, if it is among them."""
    if tuple(only) == STEPS[-1:]:
        _do(context, "report", WORK["report"], None)
        return
    done = {step.name: step for step in context.night.steps if step.status == "done"}
    context.night = replace(context.night, finished_at=None)  # of the commands before this
    for name in only:
        context.night = _without(context.night, name)
    for name in only:
        if name == "report" or not trouble(context.night, STEPS[: STEPS.index(name)]):
            _do(context, name, WORK[name], done.get(name))


def do_instead(context: Context, name: StepName, work: Work) -> None:
    """Do something towards a step, of which the record tells only where it goes wrong."""
    step = _attempt(context, name, work)
    if step.status in ("failed", "refused"):
        _record(context, step)


def _without(night: Night, name: StepName) -> Night:
    return replace(night, steps=tuple(step for step in night.steps if step.name != name))


def _do(context: Context, name: StepName, work: Work, earlier: Step | None) -> None:
    """Do a step and record it; one that was done before and needs nothing now stays as it was."""
    step = _attempt(context, name, work)
    _record(context, earlier if earlier and step.status == "skipped" else step)


def _record(context: Context, step: Step) -> None:
    wrong = step.status in ("failed", "refused")
    context.night = context.night.after(step)
    if wrong or step.name == STEPS[-1]:
        context.night = context.night.finished()
    with context.progress.step(f"[{step.name}]", None) as shown:
        shown.note(step.line if step.status == "done" else f"{step.status}: {step.line}")
    try:
        context.night.save(context.workspace)
    except LinnaeusError as error:
        if not wrong:
            unsaved = replace(step, status="failed", line=f"the record cannot be kept: {error}")
            context.night = context.night.after(unsaved)


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
        context.night = context.night.after(ended("failed", line)).finished()
        with suppress(LinnaeusError):
            context.night.save(context.workspace)
        raise
    return ended(outcome.status, outcome.line, outcome.facts)
