"""Job servers that Beam starts for a run: stopped with it, and their failures in words."""

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.job_server import JobServer, SubprocessJobServer
from apache_beam.runners.portability.portable_runner import PortableRunner

from beam_pipelines.runners.options import runner_name
from linnaeus.errors import LinnaeusError
from linnaeus.process import share_temporary_files

AGAIN = "run the same command again: it does the missing shards"
BEHIND_A_JOB_SERVER = {"flink": "Flink", "portable": "The cluster", "prism": "Prism"}
_OURS = re.compile(r"linnaeus\.errors\.\w+: ([^\r\n]+)")
_CAUSE = re.compile(r"Caused by: ([^\r\n]+)")
_FRAME = re.compile(r"^(Pipeline \S+ failed in state \w+: )?([\w.$]+(Exception|Error): )*")
"""What Beam and Java put before the words of an error."""
_ENDING_WITH_ITS_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
getattr(ctypes.CDLL(None), "prctl", lambda *_: None)(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def ending_with_this_process(command: Sequence[object]) -> list[str]:
    """The command as a child that Linux ends with the thread that starts it, however that ends.

    Raises:
        FileNotFoundError: there is no such program.
    """
    program, *arguments = map(str, command)
    if shutil.which(program) is None:
        raise FileNotFoundError(errno.ENOENT, "no such program", program)
    parent = str(os.getpid())
    return [sys.executable, "-c", _ENDING_WITH_ITS_PARENT, parent, program, *arguments]


def _end_with_this_process(server: JobServer) -> None:
    """Have a job server started that outlives not even a launcher that was killed."""
    inner = getattr(server, "_job_server", server)
    if isinstance(inner, SubprocessJobServer):
        described = inner.subprocess_cmd_and_endpoint

        def ending() -> tuple[list[str], str]:
            command, endpoint = described()
            return ending_with_this_process(command), endpoint

        inner.subprocess_cmd_and_endpoint = ending


@contextmanager
def stopped_with(pipeline: beam.Pipeline) -> Iterator[None]:
    """Within it, run a pipeline; afterwards, the job server that was started for it is stopped.

    Beam leaves that to the interpreter's end, which a command does not wait for. A launcher that
    does not wait for its job leaves the server to it.
    """
    leaves = pipeline.options.view_as(StandardOptions).no_wait_until_finish
    runner = pipeline.runner
    with ExitStack() as started:
        if leaves:
            share_temporary_files()
        elif isinstance(runner, PortableRunner):
            make = runner.default_job_server

            def remembered(options: PipelineOptions) -> JobServer:
                server = make(options)
                _end_with_this_process(server)
                started.callback(server.stop)
                return server

            runner.default_job_server = remembered
        yield


@contextmanager
def failures_in_words(arguments: Sequence[str]) -> Iterator[None]:
    """Raise what went wrong with a runner behind a job server as one line with its remedy."""
    runner = BEHIND_A_JOB_SERVER.get(runner_name(arguments))
    try:
        yield
    except LinnaeusError:
        raise
    except Exception as error:
        if runner is None:
            raise
        raise LinnaeusError(describe(error, runner)) from error


def describe(error: Exception, runner: str) -> str:
    """A line about what a runner behind a job server raised."""
    import grpc

    text = str(error)
    if isinstance(error, grpc.FutureTimeoutError):
        return "No job server answers: start it, or correct --job_endpoint"
    if isinstance(error, grpc.RpcError):
        return f"{runner}'s job server went away ({_code(error)}): see its log, and {AGAIN}"
    if isinstance(error, FileNotFoundError):
        return f"There is no program {error.filename}: {runner} needs it (docs/how-to/flink.md)"
    if "Unable to fetch" in text:
        return f"Beam cannot download what {runner} needs: make runners fetches it"
    if "Service failed to start up" in text:
        return f"{runner}'s job server ended as it was started: --debug shows what it said"
    return f"{runner} gave the job up: {_reason(text)}: {AGAIN}"


def _code(error: Exception) -> str:
    code = getattr(error, "code", None)
    return code().name if callable(code) else type(error).__name__


def _reason(text: str) -> str:
    """What an error of this project says, or the innermost cause, of a runner's many lines."""
    for pattern in (_OURS, _CAUSE):
        if said := pattern.findall(text):
            return _bare(said[-1])
    lines = [line for line in text.splitlines() if line.strip()]
    return _bare((lines or ["it does not say why"])[-1])


def _bare(line: str) -> str:
    return _FRAME.sub("", line.strip()).rstrip(".:")
