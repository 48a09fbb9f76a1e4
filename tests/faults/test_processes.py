"""Processes that die, stop or come twice, and a disk that is full."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable

from linnaeus.errors import StorageError
from linnaeus.plain_text import one_line
from linnaeus.storage import Folder
from linnaeus.tables import memory_map
from linnaeus.training.checkpoints import StoredCheckpoints
from serving.local import start_server
from serving.model_server import LISTENING
from tests.faults.commands import MAIN, ended, patched, wait_until
from tests.faults.conftest import EACH

pytestmark = pytest.mark.slow

HASTE = """
try:
    from serving.client.scoring import ScoringClient
    ScoringClient.__init__.__kwdefaults__["deadline_seconds"] = 5.0
except ImportError:
    pass
"""


@contextmanager
def model_server(workspace: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A model server that can be killed, and its address."""
    command = [sys.executable, "-m", "serving.model_server", f"--port={port}"]
    command += ["--model_name=colours", f"--model_base_path={workspace}/models/colours"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith(LISTENING))
        yield process, line.removeprefix(LISTENING).strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.soak
def test_a_model_server_that_is_killed_and_comes_back_costs_nothing(desk, undisturbed):
    with model_server(desk.root) as (server, address):
        process = desk.start(server=address)
        wait_until(lambda: desk.attempts() or process.poll() is not None)
        server.kill()
        server.wait()
        with model_server(desk.root, int(address.rpartition(":")[2])):
            status, said = ended(process)
    if status:  # a machine so busy that the server came back too late
        assert address in said
        desk.score()
    assert desk.labels() == undisturbed


@pytest.fixture
def hasty(tmp_path: Path) -> dict[str, str]:
    """The environment in which a client gives a silent server up after seconds."""
    return patched(tmp_path, HASTE)


@pytest.mark.soak
def test_a_model_server_that_stays_away_ends_the_run_in_one_line(desk, undisturbed, hasty):
    with model_server(desk.root) as (server, address):
        process = desk.start(server=address, **hasty)
        wait_until(lambda: desk.attempts() or process.poll() is not None)
        server.kill()
        status, said = ended(process)
    assert status in {0, 1}
    assert status == 0 or address in said
    desk.score()
    assert desk.labels() == undisturbed


@pytest.mark.soak
def test_two_identical_commands_at_once_are_one_run(desk, undisturbed):
    for process in [desk.start(), desk.start()]:
        status, said = ended(process)
        assert status == 0, said
    assert desk.labels() == undisturbed
    assert len(desk.rows("predictions/colours")) == 3 * EACH
    assert len({row["run_id"] for row in desk.rows("predictions/colours")}) == 1


@pytest.mark.soak
def test_a_process_thought_dead_that_goes_on_after_the_commit_changes_nothing(desk, undisturbed):
    zombie = desk.start()
    wait_until(lambda: desk.attempts() or zombie.poll() is not None)
    zombie.send_signal(signal.SIGSTOP)
    try:
        desk.score()
        versions = table_versions(desk.root)
        assert desk.labels() == undisturbed
    finally:
        zombie.send_signal(signal.SIGCONT)
    status, said = ended(zombie)
    assert status == 0, said
    assert table_versions(desk.root) == versions
    assert desk.labels() == undisturbed
    assert len(desk.rows("predictions/colours")) == 3 * EACH


def table_versions(root: Path) -> dict[str, int]:
    """How many commits each table has."""
    logs = root.rglob("_delta_log")
    return {str(log.parent.relative_to(root)): DeltaTable(log.parent).version() for log in logs}


@pytest.mark.soak
def test_two_models_at_once_do_not_disturb_each_other(desk, undisturbed):
    other = desk.root / "models" / "tints"
    shutil.copytree(desk.root / "models" / "colours", other)
    description = json.loads((other / "1" / "linnaeus.json").read_text())
    (other / "1" / "linnaeus.json").write_text(json.dumps(description | {"name": "tints"}))
    with start_server(str(desk.root), "tints", 1) as address:
        for process in [desk.start(), desk.start(model="tints", server=address)]:
            status, said = ended(process)
            assert status == 0, said
    assert desk.labels() == undisturbed
    assert desk.labels("tints") == undisturbed


@pytest.mark.parametrize("kilobytes", [1, 4])
def test_files_that_may_not_grow_end_the_run_in_one_line(desk, undisturbed, kilobytes):
    """What a full disk says, by a limit on the length of files."""
    limited = f"ulimit -f {kilobytes}; exec {sys.executable} -c '{MAIN}' "
    tried = subprocess.run(
        ["bash", "-c", limited + '"$@"', "linnaeus", *desk.arguments()],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = tried.stderr.strip().splitlines()[-1]
    assert tried.returncode == 1, said
    assert str(desk.root) in said or tempfile.gettempdir() in said
    assert "file too large" in said.lower()
    assert "unexpected" not in said
    desk.score()
    assert desk.labels() == undisturbed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB, where this process may mount one; elsewhere `ulimit` covers the fault."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_ends_the_run_in_one_line_that_names_it(
    desk_on, small_disk, undisturbed, published
):
    desk = desk_on(small_disk / "workspace")
    filler = small_disk / "filler"
    for room_bytes in (0, 40_000):
        filler.unlink(missing_ok=True)
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - room_bytes))
        status, said = ended(desk.start())
        assert status == 1, said
        assert str(desk.root) in said
        assert "no space left on device" in said.lower()
        assert desk.labels() in ({}, undisturbed)
    filler.unlink()
    desk.score()
    assert desk.labels() == undisturbed


def test_a_checkpoint_and_an_array_that_find_no_room_say_so_and_leave_what_was(small_disk):
    checkpoints = StoredCheckpoints(Folder(str(small_disk)), {})
    checkpoints.save("head", {"weights": np.ones(100)})
    with pytest.raises(StorageError, match=r"head\.npz: no space left on device: make room"):
        checkpoints.save("head", {"weights": np.ones(20_000_000)})
    assert checkpoints.load("head")["weights"].shape == (100,)
    assert not list(small_disk.rglob("*.partial"))
    with pytest.raises(OSError, match="No space left") as raised:  # not later, by SIGBUS
        memory_map((20_000, 1_000), small_disk / "matrix")
    assert "make room" in one_line(raised.value)
