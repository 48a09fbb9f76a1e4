"""How long the steps of earlier runs took, for what the next one will take."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

from linnaeus import layout
from linnaeus.errors import StorageError
from linnaeus.storage import Folder
from linnaeus.workflow.workflow_run import Step, StepName, WorkflowRun

RUNS_READ = 10
AMOUNTS: dict[StepName, str] = {"manifest": "objects", "embed": "planned", "score": "planned"}
"""The fact that says how much a step had to do; others take the same time in each run."""

_NO_RECORD = re.compile(r"\.summary\.json$|-(embed|score)\.json$")


@dataclass(frozen=True)
class PastRuns:
    """The newest runs of a workflow."""

    runs: Sequence[WorkflowRun] = ()

    @classmethod
    def of(cls, workspace: Folder, workflow: str) -> "PastRuns":
        """Read them; a record that cannot be read is left out."""
        folder = f"{layout.WORKFLOW_RUNS}/{workflow}"
        entries = sorted(workspace.page(folder)[0], key=lambda entry: entry.modified, reverse=True)
        names = [entry.key.rsplit("/", 1)[-1] for entry in entries]
        records = [one for one in names if one.endswith(".json") and not _NO_RECORD.search(one)]
        loaded = (_load(workspace, workflow, name) for name in records[:RUNS_READ])
        return cls([run for run in loaded if run])

    def seconds(self, name: StepName, amount: float = 1.0) -> float | None:
        """What a step takes for so many objects; None where no run has done it.

        Getting ready (a server, a backbone) takes as long for one object as for a million.
        """
        steps = [step for run in self.runs if (step := run.step(name))]
        done = [step for step in steps if step.status == "done" and _amount(step)]
        working = on_line([(_amount(step), _working_seconds(step)) for step in done], amount)
        if working is None:
            return None
        return working + fmean(step.seconds - _working_seconds(step) for step in done)

    def count(self, name: StepName) -> int:
        """In how many runs a step was done."""
        steps = (run.step(name) for run in self.runs)
        return sum(1 for step in steps if step and step.status == "done" and _amount(step))


def on_line(points: Iterable[tuple[float, float]], x: float) -> float | None:
    """Where a line through the points is at `x`, by least squares; it neither falls nor begins
    below zero. None without a point.
    """
    known = list(points)
    if not known:
        return None
    mean_x, mean_y = fmean(p[0] for p in known), fmean(p[1] for p in known)
    spread = sum((p[0] - mean_x) ** 2 for p in known)
    if not spread:
        return mean_y * x / mean_x
    slope = max(0.0, sum((p[0] - mean_x) * (p[1] - mean_y) for p in known) / spread)
    slope = min(slope, mean_y / mean_x)  # else it would begin below zero
    return mean_y + slope * (x - mean_x)


def _load(workspace: Folder, workflow: str, name: str) -> WorkflowRun | None:
    with suppress(StorageError):
        return WorkflowRun.load(workspace, workflow, name.removesuffix(".json"))
    return None


def _amount(step: Step) -> float:
    fact = AMOUNTS.get(step.name)
    return float(step.facts.get(fact) or 0) if fact else 1.0


def _working_seconds(step: Step) -> float:
    return min(step.seconds, float(step.facts.get("working_seconds", step.seconds)))
