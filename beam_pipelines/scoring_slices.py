"""Slices of scoring runs: done in this process, without Beam, against a model server."""

from contextlib import ExitStack

from beam_pipelines.model_servers import ModelServer, ServerChoice
from beam_pipelines.worker_options import WorkerOptions, open_worker
from linnaeus import models
from linnaeus.jobs import Slice, SliceSummary, slices
from linnaeus.planning import RunSpec, ScoreJob
from linnaeus.progress import SILENT, Progress
from linnaeus.storage import Folder
from linnaeus.worker import Worker


def score_slice(
    workspace: Folder, plan: str, one: Slice, choice: ServerChoice, progress: Progress = SILENT
) -> SliceSummary:
    """Do a slice's shards of a frozen scoring run; no server is needed where all are done.

    Raises:
        LinnaeusError: there is no such run, a server or storage refuses, or the server is skewed.
    """
    frozen = slices.find(workspace, plan, ScoreJob)
    with ExitStack() as started:

        def reach_and_open(run: RunSpec) -> Worker:
            model = models.load_model(workspace, run.named, run.trained_by)
            address = ModelServer(workspace, model, choice, progress, started).reach(run)
            options = WorkerOptions(workspace.uri, "", choice.engine, address, choice.skew_gate)
            return open_worker(options, run)

        return slices.do_slice(workspace, frozen, one, reach_and_open, progress)
