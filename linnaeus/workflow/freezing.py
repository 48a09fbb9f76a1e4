"""A workflow run whose jobs are done in slices: plans one, and freezes its run under a name."""

from dataclasses import dataclass
from typing import Literal

from linnaeus import layout, models
from linnaeus.documents import Document
from linnaeus.errors import LinnaeusError
from linnaeus.jobs import frozen_runs
from linnaeus.planning import EmbedJob, Job
from linnaeus.progress import SILENT, Progress
from linnaeus.runs import scoring_by
from linnaeus.storage import Folder
from linnaeus.workflow import engine
from linnaeus.workflow.context import Context, Outcome
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.lock import WorkflowLock, locked
from linnaeus.workflow.steps.scoring import model_version
from linnaeus.workflow.workflow_run import StepName

FEWEST = 2
"""Slices, where anything is to do: AWS Batch has no array of one."""
_STEPS_BEFORE: dict[StepName, tuple[StepName, ...]] = {"embed": ("manifest", "plan"), "score": ()}
"""Those that a job needs and that no slice can do."""


@dataclass(frozen=True)
class FreezeRequest:
    """Which job of which workflow run, in how many slices at most."""

    id: str
    job: Literal["embed", "score"]
    slices: int = 16


@dataclass(frozen=True)
class Slices(Document):
    """What a scheduler needs to know to start the slices."""

    plan: str
    """What `linnaeus embed --plan` and its like take."""
    run_id: str | None
    shards: int
    slices: int
    """0 where nothing is to do."""
    objects: int


def freeze(workflow: Workflow, request: FreezeRequest, progress: Progress = SILENT) -> Slices:
    """Do the steps before the job that need no slices, and freeze the job's run.

    Raises:
        WorkflowLocked: another run is going on.
        LinnaeusError: a step failed; the run's record says so, too.
    """
    workspace = Folder(workflow.workspace)
    with locked(WorkflowLock(workspace, workflow.name, request.id, workflow.schedule), progress):
        context = engine.open_workflow_run(workspace, workflow, request.id, progress)
        before = _STEPS_BEFORE[request.job]
        engine.refuse_after_trouble(context.run, before or ("score",))
        frozen: list[Slices] = []

        def work(of: Context) -> Outcome:
            frozen.append(_frozen(of, request))
            return Outcome(f"frozen as {frozen[0].plan}")

        engine.do(context, before)
        if not engine.trouble(context.run, before):
            engine.do_instead(context, request.job, work)
        if not frozen:
            wrong = engine.trouble(context.run)
            raise LinnaeusError(f"{wrong.name}: {wrong.line}" if wrong else "nothing was frozen")
        return frozen[0]


def _frozen(context: Context, request: FreezeRequest) -> Slices:
    name = f"{context.workflow.name}-{context.run.id}-{request.job}"
    job = {"embed": _embedding, "score": _scoring}[request.job](context)
    run = frozen_runs.freeze_run(context.workspace, job, context.manifest, name)
    slices = max(FEWEST, min(request.slices, run.shards)) if run.shards else 0
    frozen = Slices(run.plan, run.run_id, run.shards, slices, run.objects)
    key = f"{layout.WORKFLOW_RUNS}/{context.workflow.name}/{context.run.id}-{request.job}.json"
    context.workspace.write(key, frozen.to_json().encode())
    return frozen


def _embedding(context: Context) -> Job:
    return EmbedJob(context.facts("plan")["fingerprint"])


def _scoring(context: Context) -> Job:
    name, payload = context.workflow.model.name, context.workflow.serving.payload
    model = models.load_model(context.workspace, f"{name}:{model_version(context)}")
    return scoring_by(model, payload)
