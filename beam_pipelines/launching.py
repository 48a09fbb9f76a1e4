"""Handing a run to Beam. Beam itself is imported only when there is something to do."""

import signal
import sys
import threading
from argparse import ArgumentParser as Parser
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from beam_pipelines import dataflow
from beam_pipelines.local_runners import with_fetched
from beam_pipelines.model_servers import ModelServer
from beam_pipelines.options import launcher_leaves
from linnaeus import layout
from linnaeus.errors import LinnaeusError
from linnaeus.leaving import leave_at_once, own_temporary_files
from linnaeus.plain_text import one_line
from linnaeus.plans import RunSpec
from linnaeus.progress import SILENT, Progress
from linnaeus.quiet import silence_libraries
from linnaeus.storage import Folder

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineResult

WORKER_THREAD = "run_worker"
CONNECTED_THREADS = ("beam_control_read", "read_grpc_client_inputs")
"""They lose their connection when a worker dies; there is nothing more in their errors."""
AGAIN_SECONDS = 5.0
"""After which a run that a dead worker ended, and that still waits, is interrupted once more."""


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
            _dead_workers_end_the_run() as worker_died,
            _interrupts_stay_interrupts(worker_died),
            dataflow.troubles_in_words(run.run_id),
        ):
            result = self._run_pipeline(run)
        if job := getattr(result, "job", None):  # only a dry run keeps it
            self.workspace.write(layout.graph(run.run_id), dataflow.graph_json(job).encode())

    def _run_pipeline(self, run: RunSpec) -> "PipelineResult":
        from beam_pipelines.committing import Ending
        from beam_pipelines.job_servers import failures_in_words
        from beam_pipelines.shards import run_pipeline
        from beam_pipelines.workers import WorkerOptions

        server = self.model_server.address if self.model_server else self.server
        named = (self.workspace.uri, run.run_id, self.engine, server, self.skew_gate)
        options = WorkerOptions(*named)
        asked = with_fetched(dataflow.with_defaults(self.beam_options, run.run_id))
        leaves = launcher_leaves(asked) or dataflow.is_dataflow(asked)
        commits = self.may_commit and leaves
        ending = Ending(self.workspace.uri, run.run_id, self.output, self.format)
        with failures_in_words(asked):
            return run_pipeline(options, len(run.shard_sizes), asked, ending if commits else None)


@contextmanager
def _dead_workers_end_the_run() -> Iterator[threading.Event]:
    """End the run when a worker process of Beam's local runner dies, which Beam waits for for ever.

    Beam starts each worker in a thread that raises when the process ends badly. The event is set as
    soon as one has died.
    """
    died, over = threading.Event(), threading.Event()
    before = threading.excepthook

    def on_thread_error(arguments: threading.ExceptHookArgs) -> None:
        name = arguments.thread.name if arguments.thread else ""
        if name == WORKER_THREAD and not died.is_set():
            died.set()
            threading.Thread(target=_interrupt_until, args=(over,), daemon=True).start()
        elif not name.startswith((WORKER_THREAD, *CONNECTED_THREADS)):
            before(arguments)

    threading.excepthook = on_thread_error
    try:
        yield died
    except KeyboardInterrupt:
        if not died.is_set():
            raise
        raise LinnaeusError(
            "A worker process died. Run the same command again: it does the missing shards, and "
            "decodes the one that was under way image by image, apart from the workers"
        ) from None
    finally:
        over.set()
        threading.excepthook = before


def _interrupt_until(over: threading.Event) -> None:
    """Interrupt the main thread, again and again: an interruption may be lost on its way.

    Beam's own tidying up may also wait for ever, for the workers that are left.
    """
    main_thread = threading.main_thread().ident or 0
    while not over.is_set():
        signal.pthread_kill(main_thread, signal.SIGINT)  # the process's may reach another thread
        over.wait(AGAIN_SECONDS)


@contextmanager
def _interrupts_stay_interrupts(worker_died: threading.Event) -> Iterator[None]:
    """Raise KeyboardInterrupt for what Ctrl-C became on its way, such as an ImportError.

    A dead worker interrupts also where Ctrl-C is ignored, as in a job in the background of a shell.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        came.set()
        if callable(before):
            before(number, frame)
        elif worker_died.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    except Exception as error:
        if came.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)


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


def run_program(main: Callable[[], None]) -> None:
    """Run a job as a program: the libraries are silent, and an error is one line, status 1."""
    silence_libraries()
    own_temporary_files()
    try:
        main()
    except Exception as error:
        print(one_line(error), file=sys.stderr)
        leave_at_once(1)
    leave_at_once(0)
