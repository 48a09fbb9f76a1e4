"""A Flink session cluster on this machine, without containers: five processes, one command.

    python -m infra.flink.session_cluster

JobManager, TaskManager, Beam's job server and a pool of Python workers listen on 127.0.0.1, on free
ports, with the settings of `conf/config.yaml`, which Compose and Kubernetes use, too. The command
prints the options that submit a job, and stops what it started at Ctrl-C.
"""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from beam_pipelines.runners.job_servers import ending_with_this_process
from infra.flink.command_lines import HOST, PORTS, CommandLines
from linnaeus.errors import ConfigurationError, LinnaeusError
from linnaeus.process import run_program, stop

START_SECONDS = 240.0
STARTS = 2
STOP_SECONDS = 15.0

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class SessionCluster:
    """A running cluster: where it listens, and its processes by name."""

    ports: Mapping[str, int]
    processes: Mapping[str, Process]
    logs: Path

    @property
    def beam_options(self) -> list[str]:
        """Options that submit a job to it."""
        return [
            "--runner=PortableRunner",
            f"--job_endpoint={HOST}:{self.ports['job']}",
            "--environment_type=EXTERNAL",
            f"--environment_config={HOST}:{self.ports['workers']}",
            "--parallelism=2",
        ]

    @property
    def rest(self) -> str:
        """Flink's REST interface and page."""
        return f"http://{HOST}:{self.ports['rest']}"


@contextmanager
def session_cluster(folder: Path) -> Iterator[SessionCluster]:
    """Start a cluster that keeps its files in a folder, and stop it in the end.

    Args:
        folder: an empty one of this cluster's own, for logs, artifacts and temporary files.

    Raises:
        ConfigurationError: Flink or the job server cannot be fetched.
        LinnaeusError: a process ended or was not ready in time.
    """
    with ExitStack() as stack:
        yield _start(folder, stack)


def _start(folder: Path, stack: ExitStack) -> SessionCluster:
    """Start it, and once more where another program took a port between the finding and the use."""
    for number in range(STARTS):
        with ExitStack() as starting:
            try:
                cluster = _started(folder / str(number), starting)
            except ConfigurationError:
                raise
            except LinnaeusError:
                if number + 1 == STARTS:
                    raise
            else:
                stack.push(starting.pop_all())
                return cluster
    raise AssertionError("returned or raised by now")


def _started(folder: Path, stack: ExitStack) -> SessionCluster:
    lines = CommandLines(folder, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    logs = folder / "logs"
    for made in (logs, lines.artifacts, lines.temporary):
        made.mkdir(parents=True, exist_ok=True)
    commands = {
        "jobmanager": lines.jobmanager(),
        "taskmanager": lines.taskmanager(),
        "job-server": lines.job_server(),
        "worker-pool": lines.worker_pool(),
    }
    processes = {
        name: stack.enter_context(_running(command, logs / f"{name}.log"))
        for name, command in commands.items()
    }
    cluster = SessionCluster(lines.ports, processes, logs)
    _wait_until_ready(cluster)
    return cluster


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[Process]:
    """A process that is stopped in the end."""
    if shutil.which(command[0]) is None:
        raise ConfigurationError(f"there is no {command[0]}: Flink needs Java 17")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ending_with_this_process(command),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield process
    finally:
        stop(process, STOP_SECONDS)


def _wait_until_ready(cluster: SessionCluster) -> None:
    conditions = {
        "taskmanager": lambda: _slots(cluster.rest) > 0,
        "job-server": lambda: _listens(cluster.ports["job"]),
        "worker-pool": lambda: _listens(cluster.ports["workers"]),
    }
    deadline = time.monotonic() + START_SECONDS
    for name, is_ready in conditions.items():
        _wait_for(cluster, name, is_ready, deadline)


def _wait_for(
    cluster: SessionCluster, name: str, is_ready: Callable[[], bool], deadline: float
) -> None:
    while not is_ready():
        ended = [one for one, process in cluster.processes.items() if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            log = cluster.logs / f"{(ended or [name])[0]}.log"
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise LinnaeusError(f"the Flink cluster did not start: {log} ends with: {last[0]}")
        time.sleep(0.2)


def _slots(rest: str) -> int:
    try:
        with urllib.request.urlopen(f"{rest}/overview", timeout=5) as answer:
            return int(json.load(answer)["slots-total"])
    except OSError:
        return 0


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def main() -> None:
    """Run a cluster until Ctrl-C or SIGTERM."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with (
        TemporaryDirectory(prefix="linnaeus-flink-") as folder,
        session_cluster(Path(folder)) as cluster,
    ):
        print(f"Flink's page: {cluster.rest}", file=sys.stderr)
        print("Submit with:", file=sys.stderr)
        print(" ".join(cluster.beam_options), flush=True)
        over.wait()


if __name__ == "__main__":
    run_program(main)
