"""The shards of a run that was frozen before, and nothing else: who froze it also commits it.

python -m beam_pipelines.run_shards --workspace W --plan PLAN [--server S] [BEAM OPTIONS]
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from beam_pipelines.model_servers import ModelServer, ServerChoice
from beam_pipelines.runners import OnBeam, check_beam_options, program
from linnaeus import models
from linnaeus.errors import ConfigurationError
from linnaeus.jobs import FrozenRun, frozen_runs
from linnaeus.plain_text import plain_json
from linnaeus.planning import RunSpec, job_of, plans
from linnaeus.process import run_program
from linnaeus.progress import SILENT, Progress, for_stream
from linnaeus.storage import Folder


@dataclass(frozen=True)
class ShardsRequest:
    """Which run, and by what its shards are done."""

    plan: str
    """Its name or id."""
    server: str = ""
    """`host:port` of the model server that a scoring run asks."""
    engine: str = "auto"
    beam_options: Sequence[str] = ()


def run_shards(workspace: Folder, request: ShardsRequest, progress: Progress = SILENT) -> FrozenRun:
    """Do what is left of a frozen run's shards; nothing is committed.

    Raises:
        ConfigurationError: there is no such run, or nothing was frozen, or no server is named.
        LinnaeusError: storage or a server that refuses, or one that is skewed.
    """
    check_beam_options(request.beam_options)
    frozen = frozen_runs.load(workspace, request.plan)
    if frozen.run_id is None:
        raise ConfigurationError(f"Plan {request.plan}: nothing was to do when it was frozen")
    if not frozen_runs.is_over(workspace, frozen):
        run = plans.read_spec(workspace, frozen.run_id)
        _check_server(workspace, run, request, progress)
        options = tuple(request.beam_options)
        named = (workspace, request.engine, options, request.server)
        OnBeam(*named, progress=progress, may_commit=False).execute(run)
    return frozen


def _check_server(
    workspace: Folder, run: RunSpec, request: ShardsRequest, progress: Progress
) -> None:
    if not job_of(run).asks_server:
        return
    if not request.server:
        raise ConfigurationError(f"Plan {request.plan} scores: --server says which server is asked")
    model = models.load_model(workspace, run.named, run.trained_by)
    with ExitStack() as started:
        choice = ServerChoice(request.server, engine=request.engine)
        ModelServer(workspace, model, choice, progress, started).reach(run)


def options() -> argparse.ArgumentParser:
    """The program's own options."""
    optional = ("server", "engine")
    return program("run_shards", ("workspace", "plan"), ShardsRequest, optional, __doc__)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the job; options it does not know go to Beam."""
    known, beam_options = options().parse_known_args(argv)
    request = ShardsRequest(known.plan, known.server or "", known.engine, beam_options)
    frozen = run_shards(Folder(known.workspace), request, for_stream(sys.stderr))
    print(plain_json(asdict(frozen)))


if __name__ == "__main__":
    run_program(main)
