"""The embedded server as a child process: from start, through the client, to its end."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from linnaeus.errors import ServingError
from linnaeus.records import Prediction
from serving.client import ScoringClient
from serving.local import start_server

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(labeller: Path, tmp_path: Path) -> Path:
    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / "2").symlink_to(labeller)
    return tmp_path


def children_of(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            children += map(int, (task / "children").read_text().split())
    return children


def gone(pid: int, seconds: float = 20) -> bool:
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        if not Path(f"/proc/{pid}").exists() or state_of(pid) == "Z":
            return True
        time.sleep(0.1)
    return False


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_workspaces_model_is_served_for_the_length_of_the_context(workspace: Path):
    before = set(children_of(os.getpid()))
    with start_server(str(workspace), "m", 2) as address:
        (child,) = set(children_of(os.getpid())) - before
        assert address.startswith("127.0.0.1:")
        with ScoringClient(address) as client:
            version = client.resolve_version("m")
            ((_, prediction),) = client.score("m", version, "serving_default", [(1, b"3")])
    assert version == 2
    assert isinstance(prediction, Prediction)
    assert gone(child, 1)


def test_a_model_that_is_not_there_is_the_childs_own_clear_line(workspace: Path):
    with (
        pytest.raises(ServingError, match=r"did not start: there is no version of model other in"),
        start_server(str(workspace), "other", 2),
    ):
        pass


def test_the_server_dies_with_a_parent_that_is_killed(workspace: Path):
    program = (
        "import sys, time; from serving.local import start_server\n"
        "with start_server(sys.argv[1], 'm', 2) as address:\n"
        "    print(address, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(workspace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            assert parent.stdout.readline().startswith("127.0.0.1:")
            children = children_of(parent.pid)
        finally:
            parent.kill()
    assert len(children) == 1
    assert gone(children[0])


def test_flags_are_tensorflow_servings(workspace: Path):
    command: list[Any] = [sys.executable, "-m", "serving.model_server", "--port", "0"]
    command += ["--rest_api_port", "0", "--model_name", "x"]
    command += ["--model_base_path", str(workspace / "models" / "m")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        stopping = threading.Timer(120, server.kill)
        stopping.start()
        assert server.stdout is not None
        address = server.stdout.readline().rpartition(" ")[2].strip()
        with ScoringClient(address) as client:
            assert client.resolve_version("x") == 2
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
        stopping.cancel()
