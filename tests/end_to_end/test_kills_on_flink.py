"""Processes of Flink killed at random moments: the launcher ends with one line, nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.beam_pipelines.test_runners import skip_without
from tests.end_to_end.test_kills import (  # noqa: F401 - fixtures
    attempts,
    bucket,
    command,
    descendants,
    labels,
    read_all_tables,
    rows,
    undisturbed,
)

if TYPE_CHECKING:
    from infra.flink.session_cluster import SessionCluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.timeout(900),
]
END_SECONDS = 240
"""Within which a launcher must notice; Flink looks for a lost JobManager for a minute or so."""
KILLS = int(os.environ.get("FLINK_KILLS", "5"))
"""Each takes a minute or two, most of it for the start of a cluster."""
VICTIMS = ("worker", "taskmanager", "job-server", "jobmanager", "launcher")


@pytest.fixture(scope="module")
def clusters(tmp_path_factory) -> Iterator[Callable[[], SessionCluster]]:
    """Gives the cluster that runs, or a new one where a process of it is gone."""
    skip_without("java", "mvn")
    from infra.flink.session_cluster import session_cluster

    running: list[tuple[SessionCluster, object]] = []

    @contextmanager
    def closing() -> Iterator[None]:
        try:
            yield
        finally:
            for _, context in running:
                context.__exit__(None, None, None)

    def current() -> SessionCluster:
        if running and all(one.poll() is None for one in running[-1][0].processes.values()):
            return running[-1][0]
        if running:
            running.pop()[1].__exit__(None, None, None)
        context = session_cluster(tmp_path_factory.mktemp("flink"))
        running.append((context.__enter__(), context))
        return running[-1][0]

    with closing():
        yield current


def victim_of(cluster: SessionCluster, launcher: subprocess.Popen, name: str) -> int:
    """The process to kill: a worker is a child of the pool."""
    if name == "launcher":
        return launcher.pid
    if name == "worker":
        return descendants(cluster.processes["worker-pool"].pid)[-1]
    return cluster.processes[name].pid


def kill(cluster: SessionCluster, launcher: subprocess.Popen, name: str) -> None:
    """Kill a process, unless the work was done before."""
    with suppress(IndexError, ProcessLookupError):
        if launcher.poll() is None:
            os.kill(victim_of(cluster, launcher, name), signal.SIGKILL)


def wait_for_work(launcher: subprocess.Popen, workspace: Path, before: set[Path]) -> None:
    """Until an attempt at a shard has begun."""
    while launcher.poll() is None and attempts(workspace) == before:
        read_all_tables(workspace)
        time.sleep(0.01)


@pytest.mark.parametrize("seed", range(KILLS))
def test_after_a_kill_the_launcher_says_so_and_the_same_command_gives_the_undisturbed_labels(
    loop,
    bucket,  # noqa: F811
    server,
    undisturbed,  # noqa: F811
    clusters,
    seed,
):
    chance, name = random.Random(seed), VICTIMS[seed % len(VICTIMS)]
    cluster = clusters()
    arguments = command(loop.root, bucket, server, *cluster.beam_options)
    before = attempts(loop.root)
    launcher = subprocess.Popen(
        arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        wait_for_work(launcher, loop.root, before)
        time.sleep(chance.uniform(0, 0.3))
        kill(cluster, launcher, name)
        _, said = launcher.communicate(timeout=END_SECONDS)
    finally:
        launcher.kill()
    read_all_tables(loop.root)
    if name == "launcher":
        assert launcher.returncode in {-signal.SIGKILL, 0}
    elif launcher.returncode:  # else the shards were done before the process was missed
        assert launcher.returncode == 1
        assert "run the same command again" in said.splitlines()[-1]
    same = clusters().beam_options if seed < len(VICTIMS) else []  # or another runner joins the run
    subprocess.run(command(loop.root, bucket, server, *same), check=True, timeout=END_SECONDS)
    assert labels(loop.root) == undisturbed
    predicted = [row["uri"] for row in rows(loop.root, "predictions/colours")]
    assert sorted(predicted) == sorted(uri for uri, (label, *_) in undisturbed.items() if label)
