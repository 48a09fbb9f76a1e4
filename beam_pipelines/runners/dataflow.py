"""Dataflow: what its jobs are given unless somebody asks for something else.

Options are Beam's, as text, so that Beam is imported only by who has some.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from beam_pipelines.runners import options
from beam_pipelines.runners.options import all_options, has_option, runner_name
from linnaeus.errors import LinnaeusError

JOBS_PAGE = "https://console.cloud.google.com/dataflow/jobs?project={project}"
HARNESS_THREADS = 2
"""Shards that a machine has under way: one is read while another is computed."""


def is_dataflow(arguments: Sequence[str]) -> bool:
    """Whether options name Dataflow as the runner."""
    return runner_name(arguments) == "dataflow"


def job_name(run_id: str) -> str:
    """A name that only one active job can have, so one run is not paid for twice."""
    return f"linnaeus-{run_id.lower()}"


def with_defaults(arguments: Sequence[str], run_id: str) -> list[str]:
    """Options of a run's Dataflow job; those of other runners stay as they are.

    One process a machine shares one copy of the network, where Dataflow would start one for each
    processor. Nothing of the launcher's travels with the job: workers run what their image has.
    """
    asked = list(arguments)
    if not is_dataflow(asked):
        return asked
    defaults = {
        "job_name": job_name(run_id),
        "number_of_worker_harness_threads": str(HARNESS_THREADS),
        **({"sdk_location": "container"} if has_option(asked, "sdk_container_image") else {}),
    }
    told = options.with_defaults(asked, defaults)
    if not (has_option(asked, "save_main_session") or has_option(asked, "no_save_main_session")):
        told.append("--no_save_main_session")
    experiments = "no_use_multiple_sdk_containers", "disable_logging_submission_environment"
    return told + [f"--experiments={name}" for name in experiments if name not in " ".join(asked)]


def note(arguments: Sequence[str], run_id: str) -> str:
    """Where a person finds the run's job."""
    job = all_options(with_defaults(arguments, run_id))
    return f"job {job['job_name']}, {JOBS_PAGE.format(project=job['project'])}"


def graph_json(job: Any) -> str:
    """The graph of a dry run's job, as the service would get it."""
    from google.protobuf.json_format import MessageToJson

    return str(MessageToJson(job.proto_pipeline))


@contextmanager
def troubles_in_words(run_id: str) -> Iterator[None]:
    """Say in one line what Google or the job's end means for the run."""
    try:
        yield
    except Exception as error:
        if words := _words(error, run_id):
            raise LinnaeusError(words) from error
        raise


def _words(error: Exception, run_id: str) -> str:
    """By names, as Google's client need not be installed."""
    kind, reason = type(error), " ".join(str(error).split())
    if kind.__name__ == "DataflowJobAlreadyExistsError":
        return (
            f"Run {run_id} is under way as Dataflow job {job_name(run_id)}, which commits it; wait "
            "for its end, or cancel it and run the same command again"
        )
    if kind.__name__ == "DataflowRuntimeException":
        return (
            f"The Dataflow job of run {run_id} did not end well: {reason}; run the same command "
            "again to do the missing shards"
        )
    if kind.__module__.partition(".")[0] in ("google", "apitools"):
        return f"Google refused run {run_id}: {reason}; linnaeus preflight says what is missing"
    return ""
