"""How a night ended, in figures: what is kept, exported as metrics and told to people.

The schema of the JSON is docs/how-to/night-summary.schema.json.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

from linnaeus import documents, layout, models
from linnaeus.progress import count_text
from linnaeus.storage import Folder
from linnaeus.workflow.drift import measuring
from linnaeus.workflow.drift.measuring import Drift
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.forecast.cost import Cost, cost_of, used_by
from linnaeus.workflow.night import NIGHTS, STEPS, Night, now_text
from linnaeus.workflow.summary.new_failures import FailureGroup, new_failures

_KEPT = re.compile(r"[^.].*\.summary\.json")

VERSION = 1
"""Of the JSON; fields may be added within one."""

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
class NightCounts:
    """Images of a night."""

    listed: int = 0
    embedded: int = 0
    """Their vectors were computed."""
    reused: int = 0
    """New to the list, but their content was embedded before."""
    labelled: int = 0
    """Labelled tonight."""
    failed: int = 0
    new_failures: int = 0
    """Failed for the first time."""
    known_failures: int = 0
    """Not tried: they failed before and would again."""
    skipped: int = 0
    """Embedded before the night."""


@dataclass(frozen=True)
class NightChurn:
    """Images that had labels before the night, and how many of these have others now, or would have
    had if no gate had refused them.
    """

    compared: int
    changed: int
    share: float


@dataclass(frozen=True)
class ModelChange:
    """Which version gave the labels before the night, and which gives them after it."""

    name: str
    before: int | None
    after: int | None
    accuracy: float | None
    """Test accuracy of a version that is new tonight."""


@dataclass(frozen=True)
class Summary:
    """A night in figures."""

    workflow: str
    night: str
    workspace: str
    status: Ending
    exit: int
    """Exit status of the whole night."""
    headline: str
    """What to know, in one line."""
    started_at: str
    """ISO 8601, UTC."""
    finished_at: str
    seconds: float
    """From the night's beginning to its end."""
    steps: tuple[StepLine, ...]
    counts: NightCounts
    bytes_read: int
    churn: NightChurn | None
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
    """When a night of this workflow last ended well."""
    schema_version: int = VERSION

    def to_json(self) -> str:
        """The text of the kept file."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @property
    def anything_done(self) -> bool:
        """Whether the night changed or tried anything."""
        counts, model = self.counts, self.model
        touched = counts.embedded + counts.reused + counts.labelled + counts.failed
        return touched > 0 or model.before != model.after or self.status != "done"


def summary_key(workflow: str, night: str, kind: Literal["json", "txt", "html"]) -> str:
    """Where a night's summary lies in the workspace."""
    return f"{NIGHTS}/{workflow}/{night}.summary.{kind}"


def summarise(workspace: Folder, workflow: Workflow, night: Night) -> Summary:
    """Sum a night up from its record and what its runs left in the workspace.

    What cannot be found out is left out, even where the workspace is gone: that is when people want
    to be told.
    """
    status, reason = _ending(night)
    counts, finished_at = _counts(night), night.finished_at or now_text()
    model, churn = _model(workspace, workflow, night, status), _churn(night)
    prices, score = workflow.prices, night.facts("score")
    return Summary(
        workflow=night.workflow,
        night=night.night,
        workspace=workspace.uri,
        status=status,
        exit=_exit(night, status),
        headline=f"{night.workflow} {night.night} {_outcome(status, reason, counts, model)}",
        started_at=night.started_at,
        finished_at=finished_at,
        seconds=max(0.0, _seconds_between(night.started_at, finished_at)),
        steps=_step_lines(night),
        counts=counts,
        bytes_read=_sum(night, "bytes_read"),
        churn=churn,
        drift=measuring.of_night(workspace, model.name, model.after, score.get("run_id")),
        new_failures=_or_else((), lambda: new_failures(workspace, _runs(night))),
        cost=cost_of(prices, used_by(night)) if prices.named else None,
        model=model,
        report=_or_else(None, lambda: _report(workspace, night)),
        forecast=dict(night.forecast),
        last_success_at=finished_at
        if status == "done"
        else _or_else(None, lambda: _last_success(workspace, night)),
    )


def _or_else(unknown: Found, look: Callable[[], Found]) -> Found:
    """What is found in the workspace, if it can be read; a broken file there silences no news."""
    try:
        return look()
    except Exception:
        return unknown


def _ending(night: Night) -> tuple[Ending, str]:
    """How the night ended and why; a night whose labels were never reached has failed.

    A slice that died leaves no step behind: what is missing says so.
    """
    trouble = night.trouble
    if trouble is not None:
        ending: Ending = "refused" if trouble.status == "refused" else "failed"
        return ending, f"in {trouble.name}: {trouble.line}"
    missing = [name for name in STEPS[:-1] if night.step(name) is None]
    if "score" in missing:
        return "failed", f"{missing[0]} was not finished"
    return "done", ""


def _exit(night: Night, status: Ending) -> int:
    if status == "done":
        return 0
    trouble = night.trouble
    return int(trouble.facts.get("exit", 1)) if trouble else 1


def _outcome(status: Ending, reason: str, counts: NightCounts, model: ModelChange) -> str:
    if status != "done":
        return f"{status} {reason}" if reason else status
    facts = [f"{counts.embedded:,} embedded", f"{counts.labelled:,} labelled"]
    if counts.new_failures:
        facts.append(count_text(counts.new_failures, "new failures"))
    if model.before != model.after:
        facts.append(f"now by {model.name}:{model.after}")
    return f"done: {', '.join(facts)}"


def _step_lines(night: Night) -> tuple[StepLine, ...]:
    """All but the report, of which the summary is a part."""
    before = (step for step in night.steps if step.name != STEPS[-1])
    return tuple(StepLine(step.name, step.status, step.line, step.seconds) for step in before)


def _counts(night: Night) -> NightCounts:
    embed, score = night.facts("embed"), night.step("score")
    kept = score.facts if score and score.status == "done" else {}  # what is refused labels nothing
    embedded = _sum(night, "embedded")
    return NightCounts(
        listed=_number(night.facts("manifest"), "objects"),
        embedded=embedded,
        reused=max(0, _number(embed, "done") - _number(embed, "embedded")),
        labelled=_number(kept, "done"),
        failed=_sum(night, "failed"),
        new_failures=_sum(night, "new_failures"),
        known_failures=_number(embed, "known_failures"),
        skipped=_number(embed, "skipped"),
    )


def _churn(night: Night) -> NightChurn | None:
    score = night.facts("score")
    compared, changed = _number(score, "compared"), _number(score, "changed")
    return NightChurn(compared, changed, changed / compared) if compared else None


def _model(workspace: Folder, workflow: Workflow, night: Night, status: Ending) -> ModelChange:
    """The labels are of a new version only once they are committed."""
    publish, evaluate = night.facts("publish"), night.facts("evaluate")
    scored = night.facts("score").get("model_version")
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


def _report(workspace: Folder, night: Night) -> str | None:
    """The page that the report step made, or one that lies with the night's newest run."""
    if page := night.facts("report").get("page"):
        return str(page)
    for step in ("score", "train"):
        run_id = night.facts(step).get("run_id")
        if run_id and workspace.head(layout.report(run_id)):
            return workspace.uri_of(layout.report(run_id))
    return None


def _last_success(workspace: Folder, night: Night) -> str | None:
    """What the newest other summary says; each hands it on to the next.

    By its time: a scheduler's names of nights need not be in their order.
    """
    folder, _, own = summary_key(night.workflow, night.night, "json").rpartition("/")
    kept_at = {e.key.rpartition("/")[2]: e.modified for e in workspace.page(folder)[0]}
    others = [name for name in kept_at if _KEPT.fullmatch(name) and name != own]
    if not others:
        return None
    newest = max(others, key=lambda name: (kept_at[name], name))
    kept = documents.fields(workspace.read(f"{folder}/{newest}"))
    return kept.get("last_success_at")


def _runs(night: Night) -> list[str]:
    found = (night.facts(name).get("run_id") for name in ("embed", "score"))
    return [run_id for run_id in found if run_id]


def _sum(night: Night, fact: str) -> int:
    return sum(_number(night.facts(name), fact) for name in ("embed", "score"))


def _number(facts: Mapping[str, Any], name: str) -> int:
    return int(facts.get(name) or 0)


def _seconds_between(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
