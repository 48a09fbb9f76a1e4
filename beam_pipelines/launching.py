"""Handing a run to Beam. Beam itself is imported only when there is something to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from linnaeus.plans import RunSpec
from linnaeus.storage import Folder


@dataclass(frozen=True)
class OnBeam:
    """Executes a run as a Beam pipeline."""

    workspace: Folder
    engine: str
    beam_options: Sequence[str]
    server: str = ""

    def get_ready(self, run: RunSpec) -> None:
        """Nothing to start."""

    def execute(self, run: RunSpec) -> None:
        """Run the pipeline and wait for its end."""
        from beam_pipelines.shards import WorkerOptions, run_pipeline

        options = WorkerOptions(self.workspace.uri, run.run_id, self.engine, self.server)
        if run.shard_sizes:
            run_pipeline(options, len(run.shard_sizes), self.beam_options)
