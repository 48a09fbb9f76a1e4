"""What commands leave on the disk besides the workspace: nothing, unless they are killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import BACKBONE, fill

pytestmark = pytest.mark.slow
LINNAEUS = [sys.executable, "-c", "from linnaeus.cli import main; main()"]
KILLED = """
import os, signal, tempfile
from linnaeus.process import own_temporary_files

own_temporary_files()
tempfile.mkdtemp()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.soak
def test_no_command_leaves_temporary_files(tmp_path, loop):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}

    def run(*arguments: object) -> None:
        command = [*LINNAEUS, *map(str, arguments)]
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert ended.returncode == 0, ended.stderr
        assert [one.name for one in temporary.iterdir()] == ["linnaeus-of-somebody"], arguments[0]

    subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
    [killed] = temporary.iterdir()
    assert len(list(killed.iterdir())) == 2
    (temporary / "linnaeus-of-somebody").mkdir()
    (temporary / "linnaeus-of-somebody" / ".owner").write_bytes(b"\xff")
    new = fill(tmp_path / "new", 2, first=300)
    here = ("--workspace", loop.root)
    run("embed", new, "--backbone", BACKBONE, *here)
    run("train", loop.bucket, "--model", "other", "--backbone", BACKBONE, "--head", "linear", *here)
    run("score", new, "--model", "colours", *here)
    run("label", new / "red/0300.jpg", "--model", "colours", *here)
    (tmp_path / "run.toml").write_text(
        f'workspace = "{loop.root}"\nimages.location = "{loop.bucket}"\n'
        f'backbone.name = "{BACKBONE}"\nmodel.name = "colours"\nretrain.when = "never"\n'
    )
    run("run", tmp_path / "run.toml")


def test_what_outlives_a_process_is_not_in_its_folder(tmp_path):
    code = (
        "import sys, tempfile\n"
        "from linnaeus.process import *\n"
        "own_temporary_files(); tempfile.mkdtemp()\n"
        "share_temporary_files(); print(tempfile.mkdtemp()); leave_at_once(3)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert list(tmp_path.iterdir()) == [Path(ended.stdout.strip())]
