"""Slices of scoring runs: done in this process, without Beam, against a model server."""

from contextlib import ExitStack
from functools import partial

from beam_pipelines.model_servers import ModelServer, ServerChoice
from beam_pipelines.workers import WorkerOptions, open_scorer
from linnaeus import models, slice_work
from linnaeus.plans import RunSpec
from linnaeus.progress import SILENT, Progress
from linnaeus.slice_work import SliceSummary
from linnaeus.slices import Slice
from linnaeus.storage import Folder
from linnaeus.worker import Worker


def score_slice(
    workspace: Folder, plan: str, one: Slice, choice: ServerChoice, progress: Progress = SILENT
) -> SliceSummary:
    """Do a slice's shards of a frozen scoring run; no server is needed where all are done.

    Raises:
        LinnaeusError: there is no such run, a server or storage refuses, or the server is skewed.
    """
    frozen = slice_work.find(workspace, plan, "score")
    with ExitStack() as started:

        def open_worker(run: RunSpec) -> Worker:
            model = models.load_model(workspace, run.named, run.trained_by)
            address = ModelServer(workspace, model, choice, progress, started).reach(run)
            options = WorkerOptions(workspace.uri, "", choice.engine, address, choice.skew_gate)
            return Worker(workspace, run, choice.engine, partial(open_scorer, options, run))

        return slice_work.do_slice(workspace, frozen, one, open_worker, progress)
