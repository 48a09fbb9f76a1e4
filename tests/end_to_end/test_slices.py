"""Slices in processes of their own, which know nothing of each other but the plan's name."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from linnaeus import Workspace, layout
from linnaeus.planning import plans
from linnaeus.records import OBJECTS
from linnaeus.storage import Folder
from linnaeus.tables import Table
from tests.end_to_end.conftest import BACKBONE, Loop, fill

pytestmark = pytest.mark.slow
MAIN = "from linnaeus.cli import main; main()"
DYING = f"""
import os, signal
from linnaeus.worker import shards
begun, write_parts = [], shards.write_parts

def die_before_the_second_receipt(shard, results):
    written = write_parts(shard, results)
    begun.append(shard.number)
    if len(begun) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return written

shards.write_parts = die_before_the_second_receipt
{MAIN}
"""
WITHOUT_BEAM = f"import sys; sys.modules['apache_beam'] = None; {MAIN}"


@pytest.fixture
def new(tmp_path, monkeypatch) -> str:
    """Thirty pictures, of which plans of this process make ten shards."""
    limits = plans.ShardLimits(3)
    monkeypatch.setattr(plans.ShardLimits, "for_run", lambda objects: limits)
    return str(fill(tmp_path / "new", 10, first=500))


def start(loop: Loop, *arguments: str, program: str = WITHOUT_BEAM, **more: str):
    command = [sys.executable, "-c", program, *arguments, "--workspace", str(loop.root)]
    pipe = subprocess.PIPE
    environment = {**os.environ, **more}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def ended(process: subprocess.Popen) -> tuple[int, str]:
    said = process.communicate(timeout=60)
    return process.returncode, "".join(said)


def labels(workspace: Workspace, images: str) -> list[tuple]:
    columns = ("uri", "etag", "sha256", "status", "label", "confidence")
    rows = workspace.labels("colours").to_arrow().to_pylist()
    return sorted(tuple(row[name] for name in columns) for row in rows if row["source"] == images)


@pytest.mark.soak
def test_scoring_slices_that_die_run_twice_and_end_in_any_order(
    trained, loop, new, server, tmp_path
):
    frozen = loop.workspace.freeze(new, "night", model="colours")
    assert (frozen.objects, frozen.shards) == (30, 10)
    score = ("score", "--plan", "night", "--server", server, "--slice")
    dies = start(loop, *score, "1/2", program=DYING)
    twice = [
        start(loop, *score, "auto/2", JOB_COMPLETION_INDEX="1"),
        start(loop, *score, "2/2"),
    ]
    assert ended(dies)[0] == -signal.SIGKILL
    assert [ended(process)[0] for process in twice] == [0, 0]
    status, said = ended(start(loop, "commit", "--plan", "night"))
    assert status == 1
    assert "4 of 10 shards are not done (2, 4, 6, 8); nothing is committed" in said
    status, said = ended(start(loop, *score, "1/2"))
    assert (status, "1 of them done before" in said) == (0, True), said
    status, said = ended(start(loop, "commit", "--plan", "night"))
    assert (status, "30 done" in said) == (0, True), said

    plain = Loop(loop.bucket, Path(shutil.copytree(trained.root, tmp_path / "plain")))
    plain.workspace.score(new, "colours", server=server)
    assert labels(loop.workspace, new) == labels(plain.workspace, new)
    assert len(labels(loop.workspace, new)) == 30


def test_a_slice_without_a_server_starts_one(loop, new):
    loop.workspace.freeze(new, "night", model="colours")
    done = loop.workspace.score_slice("night", "2/5")
    assert (done.shards, done.counts.done, done.over) == (2, 6, False)


def test_embedding_slices_make_the_rows_of_a_plain_run(trained, loop, new, tmp_path):
    loop.workspace.freeze(new, "night", backbone=BACKBONE)
    assert ended(start(loop, "embed", "--plan", "night", "--slice", "1/2"))[0] == 0
    loop.workspace.embed_slice("night", "2/2")
    assert loop.workspace.commit_plan("night").counts.done == 30
    plain = Loop(loop.bucket, Path(shutil.copytree(trained.root, tmp_path / "plain")))
    assert plain.workspace.embed(new, BACKBONE).counts.done == 30
    assert objects(loop.root, new) == objects(plain.root, new)


def objects(root: Path, images: str) -> list[tuple]:
    rows = Table(Folder(str(root)), layout.OBJECTS, OBJECTS).scan().read_all().to_pylist()
    columns = ("uri", "etag", "size", "sha256", "width", "height", "format")
    return sorted(tuple(row[name] for name in columns) for row in rows if row["source"] == images)
