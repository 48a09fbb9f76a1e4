"""Handing a run to Beam. Beam itself is imported only when there is something to do."""

from argparse import ArgumentParser as Parser
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beam_pipelines.model_servers import ModelServer
from beam_pipelines.runners import dataflow
from beam_pipelines.runners.dead_workers import (
    dead_workers_end_the_run,
    interrupts_stay_interrupts,
)
from beam_pipelines.runners.downloaded import with_fetched
from beam_pipelines.runners.options import launcher_leaves
from linnaeus import layout
from linnaeus.planning import RunSpec
from linnaeus.progress import SILENT, Progress
from linnaeus.storage import Folder

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineResult


@dataclass(frozen=True)
class OnBeam:
    """Executes a run as a Beam pipeline.

    On Dataflow, and wherever the launcher leaves early, the pipeline's last step commits the run.
    """

    workspace: Folder
    engine: str
    beam_options: Sequence[str]
    server: str = ""
    """Where a model server is; of `model_server` it is known once that is reached."""
    output: str = ""
    """Where the last step also writes labels as plain files."""
    format: str = "parquet"
    progress: Progress = SILENT
    may_commit: bool = True
    """Else that is left to whoever froze the run."""
    skew_gate: bool = True
    model_server: ModelServer | None = None

    def get_ready(self, run: RunSpec) -> None:
        """Reach the model server, and say where the job will be found, if it goes to Dataflow."""
        if self.model_server and run.shard_sizes:
            self.model_server.reach(run)
        if dataflow.is_dataflow(self.beam_options):
            with self.progress.step("Hand over to Dataflow", None) as step:
                step.note(dataflow.note(self.beam_options, run.run_id))

    def execute(self, run: RunSpec) -> None:
        """Run the pipeline, and wait for its end unless options say otherwise."""
        if not run.shard_sizes and not launcher_leaves(self.beam_options):
            return
        with (
            dead_workers_end_the_run() as worker_died,
            interrupts_stay_interrupts(worker_died),
            dataflow.troubles_in_words(run.run_id),
        ):
            result = self._run_pipeline(run)
        if job := getattr(result, "job", None):  # only a dry run keeps it
            self.workspace.write(layout.graph(run.run_id), dataflow.graph_json(job).encode())

    def _run_pipeline(self, run: RunSpec) -> "PipelineResult":
        from beam_pipelines.commit_step import Ending
        from beam_pipelines.pipeline import run_pipeline
        from beam_pipelines.runners.job_servers import failures_in_words
        from beam_pipelines.worker_options import WorkerOptions

        server = self.model_server.address if self.model_server else self.server
        named = (self.workspace.uri, run.run_id, self.engine, server, self.skew_gate)
        options = WorkerOptions(*named)
        asked = with_fetched(dataflow.with_defaults(self.beam_options, run.run_id))
        leaves = launcher_leaves(asked) or dataflow.is_dataflow(asked)
        commits = self.may_commit and leaves
        ending = Ending(self.workspace.uri, run.run_id, self.output, self.format)
        with failures_in_words(asked):
            return run_pipeline(options, len(run.shard_sizes), asked, ending if commits else None)


def program(
    job: str, required: Iterable[str], request: type, optional: Iterable[str], about: str | None
) -> Parser:
    """The options of a job as a program; those that may be left out are as in its request."""
    parser = Parser(prog=f"python -m beam_pipelines.{job}", description=about)
    for name in required:
        parser.add_argument(f"--{name}", required=True)
    for name in optional:
        parser.add_argument(f"--{name}", default=getattr(request, name) or None)
    return parser
