"""A night: one execution of a workflow, as its record in the workspace says it.

The record lies in `nights/<workflow>/<night>.json`. It is written after every step, so a scheduler
may have each step done by another process on another machine.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from linnaeus import documents
from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder

StepName = Literal["manifest", "plan", "embed", "train", "evaluate", "publish", "score", "report"]
STEPS: tuple[StepName, ...] = get_args(StepName)
NIGHTS = "nights"
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
    candidate, labels, accuracy, run_id. evaluate: judged (a training run), accuracy,
    current_accuracy, current_version. publish: model, version, replaced. score also:
    model_version, compared, changed. report: page.
    """


@dataclass(frozen=True)
class Night:
    """One execution of a workflow; immutable, `after` gives the next state."""

    workflow: str
    night: str
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
    def begin(cls, workflow: str, night: str) -> "Night":
        """A night of which nothing is done."""
        return cls(workflow, night, now_text())

    def step(self, name: StepName) -> Step | None:
        """What became of that step, or None if it was not reached."""
        return next((step for step in self.steps if step.name == name), None)

    def facts(self, name: StepName) -> Mapping[str, Any]:
        """The facts of that step; none where it was not reached."""
        step = self.step(name)
        return step.facts if step else {}

    def after(self, done: Step) -> "Night":
        """The night with that step, in place of what it had of the same name, in STEPS' order."""
        kept = [step for step in self.steps if step.name != done.name]
        steps = sorted([*kept, done], key=lambda step: STEPS.index(step.name))
        refused = dict(self.refused)
        if done.status == "refused":
            refused[done.name] = done.facts
        elif done.status == "done":
            refused.pop(done.name, None)
        return replace(self, steps=tuple(steps), refused=refused)

    def finished(self) -> "Night":
        """The night with its end's time."""
        return replace(self, finished_at=now_text())

    @property
    def trouble(self) -> Step | None:
        """The first step that failed or was refused."""
        return next((s for s in self.steps if s.status in ("failed", "refused")), None)

    def save(self, workspace: Folder) -> None:
        """Write the record."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"
        workspace.write(record_key(self.workflow, self.night), text.encode())

    @classmethod
    def load(cls, workspace: Folder, workflow: str, night: str) -> "Night | None":
        """The record of a night, or None if there is none."""
        remedy = "delete it, and the night begins anew"
        return documents.read(workspace, record_key(workflow, night), remedy, cls._of)

    @classmethod
    def _of(cls, text: bytes) -> "Night":
        fields = documents.fields(text)
        return cls(**{**fields, "steps": tuple(Step(**step) for step in fields["steps"])})


def record_key(workflow: str, night: str) -> str:
    """Where a night's record lies in the workspace."""
    return f"{NIGHTS}/{workflow}/{night}.json"


def now_text() -> str:
    """The time as records have it: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_night(night: str) -> str:
    """Return a night's id if it can be one: any name of a file that is not hidden.

    Raises:
        ConfigurationError: it cannot; its record would lie elsewhere, or be found by nobody.
    """
    if not night or night.startswith(".") or "/" in night or not night.isprintable():
        raise ConfigurationError(
            f"--night {night!r} is no name of a night: leave out '/' and a '.' in front"
        )
    return night
