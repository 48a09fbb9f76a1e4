"""What a process needs to do shards of a run, with or without Beam, which is not imported here."""

from dataclasses import dataclass

from linnaeus import models
from linnaeus.planning import RunSpec, plans
from linnaeus.records import prediction_outputs
from linnaeus.storage import Folder
from linnaeus.worker import Scorer, Worker

RESTART_SECONDS = 60.0
"""How long a model server may be away before it has answered a worker."""


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker needs to know besides the plan."""

    workspace: str
    run_id: str
    engine: str = "auto"
    server: str = ""
    """`host:port` of the model server; empty for a run that asks none."""
    skew_gate: bool = True
    """Whether the server must say of golden images what this machine says."""


def open_worker(options: WorkerOptions, run: RunSpec | None = None) -> Worker:
    """A run's worker, in this process; of the run that was frozen, unless another is given."""
    workspace = Folder(options.workspace)
    spec = run or plans.read_spec(workspace, options.run_id)
    return Worker(workspace, spec, options.engine, lambda: open_scorer(options, spec))


def open_scorer(options: WorkerOptions, run: RunSpec) -> Scorer:
    """A client of the model server for a run; gRPC is imported only here.

    Patient from the start: the launcher has just had an answer from it.
    """
    from serving.client import ScoringClient
    from serving.client.checked_rows import checked_row

    workspace = Folder(options.workspace)
    model = models.load_model(workspace, run.named, run.trained_by)
    return ScoringClient(
        options.server,
        outputs=prediction_outputs(run.task),
        connect_seconds=RESTART_SECONDS,
        least={label.encode(): bound for label, bound in model.least_scores.items()},
        checked=checked_row(workspace, model, run.payload, options.skew_gate),
    )
