"""How a workflow run ended, in figures: kept, exported as metrics and sent to people.

The schema of the JSON is docs/how-to/workflow-run-summary.schema.json.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

from linnaeus import layout, models
from linnaeus.documents import Document
from linnaeus.progress import count_text
from linnaeus.storage import Folder
from linnaeus.workflow.drift import Drift, of_scoring_run
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.forecast.cost import Cost, cost_of, used_by
from linnaeus.workflow.summary.new_failures import FailureGroup, new_failures
from linnaeus.workflow.workflow_run import STEPS, WorkflowRun, now_text

_KEPT = re.compile(r"[^.].*\.summary\.json")
Found = TypeVar("Found")

Ending = Literal["done", "failed", "refused"]


@dataclass(frozen=True)
class StepLine:
    """One step as a person reads it."""

    name: str
    status: str
    line: str
    seconds: float


@dataclass(frozen=True)
class ImageCounts:
    """Images of a workflow run."""

    listed: int = 0
    embedded: int = 0
    """Their vectors were computed."""
    reused: int = 0
    """New to the list; their content was embedded before."""
    labelled: int = 0
    """Labelled in this run."""
    failed: int = 0
    new_failures: int = 0
    """Failed for the first time."""
    known_failures: int = 0
    """Not tried: they failed before and would again."""
    skipped: int = 0
    """Embedded before the run."""


@dataclass(frozen=True)
class LabelChurn:
    """Images that had labels before the run, and how many of these have others now, or would have
    had if no gate had refused them.
    """

    compared: int
    changed: int
    share: float


@dataclass(frozen=True)
class ModelChange:
    """Which version gave the labels before the run, and which gives them after it."""

    name: str
    before: int | None
    after: int | None
    accuracy: float | None
    """Test accuracy of a version that this run published."""


@dataclass(frozen=True)
class Summary(Document, indent=1):
    """A workflow run in figures."""

    workflow: str
    workflow_run: str
    workspace: str
    status: Ending
    exit: int
    """Exit status of the whole run."""
    headline: str
    """What to know, in one line."""
    started_at: str
    """ISO 8601, UTC."""
    finished_at: str
    seconds: float
    """From the run's beginning to its end."""
    steps: tuple[StepLine, ...]
    counts: ImageCounts
    bytes_read: int
    churn: LabelChurn | None
    """None where nothing was labelled that had labels before."""
    drift: Drift
    new_failures: tuple[FailureGroup, ...]
    cost: Cost | None
    """None where the workflow file has no prices."""
    model: ModelChange
    report: str | None
    """Where the page to look at is."""
    forecast: Mapping[str, Any] = field(default_factory=dict)
    """What the plan expected."""
    last_success_at: str | None = None
    """When a run of this workflow last ended well."""

    @property
    def anything_done(self) -> bool:
        """Whether the run changed or tried anything."""
        counts, model = self.counts, self.model
        touched = counts.embedded + counts.reused + counts.labelled + counts.failed
        return touched > 0 or model.before != model.after or self.status != "done"


def summary_key(workflow: str, workflow_run: str, kind: Literal["json", "txt", "html"]) -> str:
    """Where a workflow run's summary lies in the workspace."""
    return f"{layout.WORKFLOW_RUNS}/{workflow}/{workflow_run}.summary.{kind}"


def summarise(workspace: Folder, workflow: Workflow, run: WorkflowRun) -> Summary:
    """Sum a workflow run up from its record and what its jobs left in the workspace.

    What cannot be read is left out, even where the workspace is gone: that is when people need
    the notification.
    """
    status, reason = _ending(run)
    counts, finished_at = _counts(run), run.finished_at or now_text()
    model, churn = _model(workspace, workflow, run, status), _churn(run)
    prices, score = workflow.prices, run.facts("score")
    return Summary(
        workflow=run.workflow,
        workflow_run=run.id,
        workspace=workspace.uri,
        status=status,
        exit=_exit(run, status),
        headline=f"{run.workflow} {run.id} {_outcome(status, reason, counts, model)}",
        started_at=run.started_at,
        finished_at=finished_at,
        seconds=max(0.0, _seconds_between(run.started_at, finished_at)),
        steps=_step_lines(run),
        counts=counts,
        bytes_read=_sum(run, "bytes_read"),
        churn=churn,
        drift=of_scoring_run(workspace, model.name, model.after, score.get("run_id")),
        new_failures=_or_else((), lambda: new_failures(workspace, _runs(run))),
        cost=cost_of(prices, used_by(run)) if prices.named else None,
        model=model,
        report=_or_else(None, lambda: _report(workspace, run)),
        forecast=dict(run.forecast),
        last_success_at=finished_at
        if status == "done"
        else _or_else(None, lambda: _last_success(workspace, run)),
    )


def _or_else(unknown: Found, look: Callable[[], Found]) -> Found:
    """What the workspace has, if it can be read; broken files silence no notification."""
    try:
        return look()
    except Exception:
        return unknown


def _ending(run: WorkflowRun) -> tuple[Ending, str]:
    """How the run ended and why; a workflow run whose labels were never reached has failed.

    A slice that died leaves no step behind: what is missing says so.
    """
    trouble = run.trouble
    if trouble is not None:
        ending: Ending = "refused" if trouble.status == "refused" else "failed"
        return ending, f"in {trouble.name}: {trouble.line}"
    missing = [name for name in STEPS[:-1] if run.step(name) is None]
    if "score" in missing:
        return "failed", f"{missing[0]} was not finished"
    return "done", ""


def _exit(run: WorkflowRun, status: Ending) -> int:
    if status == "done":
        return 0
    trouble = run.trouble
    return int(trouble.facts.get("exit", 1)) if trouble else 1


def _outcome(status: Ending, reason: str, counts: ImageCounts, model: ModelChange) -> str:
    if status != "done":
        return f"{status} {reason}" if reason else status
    facts = [f"{counts.embedded:,} embedded", f"{counts.labelled:,} labelled"]
    if counts.new_failures:
        facts.append(count_text(counts.new_failures, "new failures"))
    if model.before != model.after:
        facts.append(f"now by {model.name}:{model.after}")
    return f"done: {', '.join(facts)}"


def _step_lines(run: WorkflowRun) -> tuple[StepLine, ...]:
    """All but the report, of which the summary is a part."""
    before = (step for step in run.steps if step.name != STEPS[-1])
    return tuple(StepLine(step.name, step.status, step.line, step.seconds) for step in before)


def _counts(run: WorkflowRun) -> ImageCounts:
    embed, score = run.facts("embed"), run.step("score")
    kept = score.facts if score and score.status == "done" else {}  # what is refused labels nothing
    embedded = _sum(run, "embedded")
    return ImageCounts(
        listed=_number(run.facts("manifest"), "objects"),
        embedded=embedded,
        reused=max(0, _number(embed, "done") - _number(embed, "embedded")),
        labelled=_number(kept, "done"),
        failed=_sum(run, "failed"),
        new_failures=_sum(run, "new_failures"),
        known_failures=_number(embed, "known_failures"),
        skipped=_number(embed, "skipped"),
    )


def _churn(run: WorkflowRun) -> LabelChurn | None:
    score = run.facts("score")
    compared, changed = _number(score, "compared"), _number(score, "changed")
    return LabelChurn(compared, changed, changed / compared) if compared else None


def _model(workspace: Folder, workflow: Workflow, run: WorkflowRun, status: Ending) -> ModelChange:
    """The labels are of a new version only once they are committed."""
    publish, evaluate = run.facts("publish"), run.facts("evaluate")
    scored = run.facts("score").get("model_version")
    before = publish.get("replaced") or evaluate.get("current_version")
    if before is None and "version" not in publish:
        before = scored or _or_else(None, lambda: _newest(workspace, workflow.model.name))
    after = (scored or publish.get("version") or before) if status == "done" else before
    name = str(publish.get("model") or workflow.model.name)
    accuracy = evaluate.get("accuracy") if after != before else None
    return ModelChange(name, _version(before), _version(after), accuracy)


def _newest(workspace: Folder, model: str) -> int | None:
    return max(models.versions(workspace, model), default=None)


def _version(value: Any) -> int | None:
    """Of 3, "3", or the reference "labels:3"."""
    return int(str(value).rpartition(":")[2]) if value else None


def _report(workspace: Folder, run: WorkflowRun) -> str | None:
    """The page that the report step made, or one that lies with its newest run."""
    if page := run.facts("report").get("page"):
        return str(page)
    for step in ("score", "train"):
        run_id = run.facts(step).get("run_id")
        if run_id and workspace.head(layout.report(run_id)):
            return workspace.uri_of(layout.report(run_id))
    return None


def _last_success(workspace: Folder, run: WorkflowRun) -> str | None:
    """What the newest other summary says; each hands it on to the next.

    By its time: a scheduler's names of runs need not be in their order.
    """
    folder, _, own = summary_key(run.workflow, run.id, "json").rpartition("/")
    kept_at = {e.key.rpartition("/")[2]: e.modified for e in workspace.page(folder)[0]}
    others = [name for name in kept_at if _KEPT.fullmatch(name) and name != own]
    if not others:
        return None
    newest = max(others, key=lambda name: (kept_at[name], name))
    kept = Summary.read_or_none(workspace, f"{folder}/{newest}")
    return kept.last_success_at if kept else None


def _runs(run: WorkflowRun) -> list[str]:
    run_ids = (run.facts(name).get("run_id") for name in ("embed", "score"))
    return [run_id for run_id in run_ids if run_id]


def _sum(run: WorkflowRun, fact: str) -> int:
    return sum(_number(run.facts(name), fact) for name in ("embed", "score"))


def _number(facts: Mapping[str, Any], name: str) -> int:
    return int(facts.get(name) or 0)


def _seconds_between(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
