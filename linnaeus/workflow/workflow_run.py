"""A workflow run: one execution of a workflow, as its record in the workspace says it.

The record lies in `workflow_runs/<workflow>/<id>.json`. It is written after every step, so a
scheduler may have each step done by another process on another machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from linnaeus import layout
from linnaeus.documents import Document
from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder

StepName = Literal["manifest", "plan", "embed", "train", "evaluate", "publish", "score", "report"]
STEPS: tuple[StepName, ...] = get_args(StepName)
Status = Literal["done", "skipped", "failed", "refused"]


@dataclass(frozen=True)
class Step:
    """What became of one step."""

    name: StepName
    status: Status
    """`refused`: by a gate; `failed`: by an error; `skipped`: up to date, `line` says why."""
    line: str
    """For a person."""
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Counts and names that later steps, the summary and machines read; plain JSON values.

    manifest: manifest_id, source, objects, bytes. plan: to_embed, to_read_bytes, up_to_date,
    known_failures, shards. embed and score: run_id, and the fields of `records.Counts`. train:
    candidate, labels, accuracy, run_id. evaluate: training_run, accuracy,
    current_accuracy, current_version. publish: model, version, replaced. score also:
    model_version, compared, changed. report: page.
    """


@dataclass(frozen=True)
class WorkflowRun(Document, remedy="delete it, and the run starts again", indent=1):
    """One execution of a workflow; immutable, `after` gives the next state."""

    workflow: str
    id: str
    started_at: str
    """ISO 8601, UTC."""
    steps: tuple[Step, ...] = ()
    forecast: Mapping[str, Any] = field(default_factory=dict)
    """What the plan step expected of the later ones, for plan against actual."""
    finished_at: str | None = None
    refused: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Facts of steps that a gate refused and that were not done since, of which nothing is new to
    their repetition.
    """

    @classmethod
    def begin(cls, workflow: str, workflow_run: str) -> "WorkflowRun":
        """A workflow run of which nothing is done."""
        return cls(workflow, workflow_run, now_text())

    def step(self, name: StepName) -> Step | None:
        """What became of that step, or None if it was not reached."""
        return next((step for step in self.steps if step.name == name), None)

    def facts(self, name: StepName) -> Mapping[str, Any]:
        """The facts of that step; none where it was not reached."""
        step = self.step(name)
        return step.facts if step else {}

    def after(self, done: Step) -> "WorkflowRun":
        """The run with that step, in place of what it had of the same name, in STEPS' order."""
        kept = [step for step in self.steps if step.name != done.name]
        steps = sorted([*kept, done], key=lambda step: STEPS.index(step.name))
        refused = dict(self.refused)
        if done.status == "refused":
            refused[done.name] = done.facts
        elif done.status == "done":
            refused.pop(done.name, None)
        return replace(self, steps=tuple(steps), refused=refused)

    def finished(self) -> "WorkflowRun":
        """The run with its end's time."""
        return replace(self, finished_at=now_text())

    @property
    def trouble(self) -> Step | None:
        """The first step that failed or was refused."""
        return next((s for s in self.steps if s.status in ("failed", "refused")), None)

    def save(self, workspace: Folder) -> None:
        """Write the record."""
        workspace.write(record_key(self.workflow, self.id), self.to_json().encode())

    @classmethod
    def load(cls, workspace: Folder, workflow: str, workflow_run: str) -> "WorkflowRun | None":
        """The record of a workflow run, or None if there is none."""
        return cls.read_or_none(workspace, record_key(workflow, workflow_run))


def record_key(workflow: str, workflow_run: str) -> str:
    """Where a workflow run's record lies in the workspace."""
    return f"{layout.WORKFLOW_RUNS}/{workflow}/{workflow_run}.json"


def now_text() -> str:
    """The time as records have it: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_id(workflow_run: str) -> str:
    """Return a workflow run's id if it can be one: any name of a file that is not hidden.

    Raises:
        ConfigurationError: it cannot; its record would lie elsewhere, or be found by nobody.
    """
    if (
        not workflow_run
        or workflow_run.startswith(".")
        or "/" in workflow_run
        or not workflow_run.isprintable()
    ):
        raise ConfigurationError(
            f"--id {workflow_run!r} cannot be used: leave out '/' and a '.' in front"
        )
    return workflow_run
