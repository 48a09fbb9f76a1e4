"""Runs killed at random moments, each followed by the same command."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from linnaeus import Workspace
from tests.end_to_end.conftest import fill, picture

pytestmark = [pytest.mark.slow, pytest.mark.soak]
PICTURES = 600
RUN_SECONDS = 1.5
"""About as long as the shards take once the plan is written."""


@pytest.fixture(scope="session")
def bucket(tmp_path_factory) -> Path:
    """New pictures: three shards of them, one that cannot be decoded, one content twice."""
    folder = fill(tmp_path_factory.mktemp("killed") / "bucket", PICTURES // 3, first=2000)
    (folder / "red" / "cut.jpg").write_bytes(picture("red", 1)[:300])
    shutil.copy(folder / "red" / "2000.jpg", folder / "blue" / "copy.jpg")
    long_ago = time.time() - 1000
    for path in folder.rglob("*.jpg"):
        os.utime(path, (long_ago, long_ago))
    return folder


def command(workspace: Path, bucket: Path, server: str, *beam_options: str) -> list[str]:
    arguments = ["score", str(bucket), "--model", "colours", "--server", server]
    options = ["--workspace", str(workspace), "--max-failures", "1"]
    main = [sys.executable, "-c", "from linnaeus.cli import main; main()"]
    return [*main, *arguments, *options, "--", *beam_options]


def rows(workspace: Path, table: str) -> list[dict]:
    """The rows of a table, which can be read at every moment."""
    try:
        return DeltaTable(workspace / table).to_pyarrow_table().to_pylist()
    except TableNotFoundError:
        return []


def labels(workspace: Path) -> dict[str, tuple]:
    found = rows(workspace, "labels/colours")
    by_uri = {row["uri"]: (row["label"], row["confidence"], row["code"]) for row in found}
    assert len(by_uri) == len(found), "an object is labelled twice"
    return by_uri


def read_all_tables(workspace: Path) -> None:
    for table in ("objects", "failures", "predictions/colours"):
        rows(workspace, table)
    for embeddings in (workspace / "embeddings").glob("*"):
        rows(workspace, f"embeddings/{embeddings.name}")
    assert len(labels(workspace)) in {0, PICTURES + 2}


@pytest.fixture(scope="session")
def undisturbed(trained, bucket, server, tmp_path_factory) -> dict[str, tuple]:
    workspace = tmp_path_factory.mktemp("undisturbed") / "workspace"
    shutil.copytree(trained.root, workspace)
    Workspace(str(workspace)).score(str(bucket), "colours", server=server)
    expected = labels(workspace)
    assert len(expected) == PICTURES + 2
    return expected


def attempts(workspace: Path) -> set[Path]:
    return set((workspace / "runs").glob("*/attempts/*"))


def descendants(pid: int) -> list[int]:
    """Python below a process, but for what decodes: Beam starts its workers through a shell."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    below = [int(child) for thread in threads for child in thread.read_text().split()]
    return [one for child in below for one in (child, *descendants(child)) if is_worker(one)]


def is_worker(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return b"python" in command[0] and b"linnaeus.images" not in command


def kill_at_random(process: subprocess.Popen, workspace: Path, chance: random.Random) -> None:
    """Wait for a random moment, reading the tables all the while, and kill the launcher."""
    before = set((workspace / "runs").glob("*/plan.parquet"))
    if chance.random() < 0.8:  # else: somewhere in the start
        while process.poll() is None and before == set((workspace / "runs").glob("*/plan.parquet")):
            time.sleep(0.01)
    until = time.monotonic() + chance.uniform(0, RUN_SECONDS)
    while process.poll() is None and time.monotonic() < until:
        read_all_tables(workspace)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("seed", range(24))
def test_after_a_killed_launcher_the_same_command_gives_the_undisturbed_labels(
    loop, bucket, server, undisturbed, seed
):
    chance = random.Random(seed)
    arguments = command(loop.root, bucket, server)
    for _ in range(chance.choice([1, 1, 2])):
        process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        kill_at_random(process, loop.root, chance)
        read_all_tables(loop.root)
    subprocess.run(arguments, check=True, timeout=120)
    assert labels(loop.root) == undisturbed
    predicted = [row["uri"] for row in rows(loop.root, "predictions/colours")]
    assert sorted(predicted) == sorted(uri for uri, (label, *_) in undisturbed.items() if label)


TWO_WORKERS = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
IN_THE_BACKGROUND = ["/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
"""Runs what follows as a shell does that is told to go on at once: Ctrl-C is ignored."""


def start(arguments: list[str], workspace: Path, **options: Any) -> subprocess.Popen:
    """A process, by the time that it has begun a shard."""
    before = attempts(workspace)
    process = subprocess.Popen(arguments, **options)
    while process.poll() is None and attempts(workspace) == before:
        time.sleep(0.01)
    return process


def test_a_killed_worker_ends_a_run_that_ignores_interrupts(loop, bucket, server):
    arguments = [*IN_THE_BACKGROUND, *command(loop.root, bucket, server, *TWO_WORKERS)]
    process = start(arguments, loop.root, stderr=subprocess.PIPE, text=True)
    os.kill(descendants(process.pid)[0], signal.SIGKILL)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "A worker process died. Run the same command again" in told


@pytest.mark.parametrize("seed", range(6))
def test_after_a_killed_worker_the_same_command_gives_the_undisturbed_labels(
    loop, bucket, server, undisturbed, seed
):
    chance = random.Random(seed)
    process = start(command(loop.root, bucket, server, *TWO_WORKERS), loop.root)
    time.sleep(chance.uniform(0, 0.3))
    os.kill(chance.choice(descendants(process.pid)), signal.SIGKILL)
    process.wait(timeout=240)
    read_all_tables(loop.root)
    subprocess.run(command(loop.root, bucket, server), check=True, timeout=240)
    assert labels(loop.root) == undisturbed
