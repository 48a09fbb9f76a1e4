"""The installed command as a person runs it: bad input is one line, an interrupted run goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import BACKBONE, fill
from tests.pictures import many_scans_jpeg

pytestmark = pytest.mark.slow
LINNAEUS = [sys.executable, "-c", "from linnaeus.cli import main; main()"]


def run(*arguments: object, workspace: Path) -> subprocess.CompletedProcess[str]:
    command = [*LINNAEUS, *map(str, arguments), "--workspace", str(workspace)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def one_line(ended: subprocess.CompletedProcess[str]) -> str:
    """The only line that is no progress."""
    lines = [line for line in ended.stderr.splitlines() if not line.startswith(("List images",))]
    assert len(lines) == 1, ended.stderr
    return lines[0]


def test_no_images_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    ended = run("embed", tmp_path / "empty", workspace=tmp_path / "w")
    assert ended.returncode == 2
    assert "no images in" in one_line(ended)


def test_a_workspace_that_cannot_be_written_is_one_line(tmp_path):
    bucket = fill(tmp_path / "bucket", 2)
    (tmp_path / "file").write_text("in the way")
    ended = run("embed", bucket, workspace=tmp_path / "file" / "w")
    assert ended.returncode == 1
    assert str(tmp_path / "file") in one_line(ended)


def test_an_unknown_backbone_is_one_line_with_the_nearest_word(tmp_path, loop):
    ended = run("embed", loop.bucket, "--backbone", "efficientnet-light0", workspace=loop.root)
    assert ended.returncode == 2
    assert "efficientnet-lite0" in ended.stderr.splitlines()[-1]


def test_new_failures_are_status_3_and_known_ones_0(tmp_path, loop):
    new = fill(tmp_path / "new", 3, first=300)
    (new / "red" / "text.jpg").write_text("no picture")
    first = run("embed", new, "--backbone", BACKBONE, workspace=loop.root)
    assert (first.returncode, "NOT_AN_IMAGE 1" in first.stdout) == (3, True)
    again = run("embed", new, "--backbone", BACKBONE, "--json", workspace=loop.root)
    assert again.returncode == 0
    assert json.loads(again.stdout)["counts"]["known_failures"] == 1


def test_an_interrupted_run_says_so_and_the_same_command_goes_on(tmp_path, loop):
    new = fill(tmp_path / "new", 100, first=5000)
    (new / "red" / "slow.jpg").write_bytes(many_scans_jpeg(2_000, 2_000, 3_000))  # some seconds
    arguments = ["embed", str(new), "--backbone", BACKBONE, "--workspace", str(loop.root)]
    before = set((loop.root / "runs").glob("*/attempts/*"))
    process = subprocess.Popen([*LINNAEUS, *arguments], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and before == set((loop.root / "runs").glob("*/attempts/*")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Interrupted; the same command continues where it stopped."
    ended = run(*arguments[:-2], workspace=loop.root)
    assert ended.returncode == 0, ended.stderr
    assert loop.workspace.status()["tables"]["objects"] == 120 + 301
