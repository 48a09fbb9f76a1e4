"""A run in one process, watched from another, on a local folder and in an object store."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from linnaeus import layout, manifests, preparation, runs
from linnaeus.planning import EmbedJob, plans
from linnaeus.status import RunProgress
from linnaeus.storage import Folder
from tests.buckets import fill

pytestmark = pytest.mark.slow
BACKBONE = "pixels@8"
LINNAEUS = [sys.executable, "-c", "from linnaeus.cli import main; main()"]
PROCESSES = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]


@pytest.fixture
def bucket(tmp_path):
    folder = fill(tmp_path / "bucket", 60)
    (folder / "even" / "text.png").write_text("no picture")
    return folder


@pytest.fixture(params=["local", "s3"])
def workspace(request, prepared_once: Path) -> Folder:
    if request.param == "local":
        return request.getfixturevalue("prepared")("workspace")
    workspace = Folder(f"{request.getfixturevalue('s3').bucket()}/workspace")
    workspace.upload(prepared_once, "")
    return workspace


def begin(workspace: Folder, bucket: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run of many shards that nobody has begun to work on; its id."""
    monkeypatch.setattr(plans.ShardLimits, "for_run", lambda objects: plans.ShardLimits(4))
    job = EmbedJob(preparation.prepare(workspace, BACKBONE).fingerprint)
    manifest = manifests.freeze(workspace, str(bucket))
    return runs.create_run(workspace, job, runs.make_plan(workspace, job, manifest)).run_id


def watch(workspace: Folder) -> subprocess.Popen[str]:
    command = [*LINNAEUS, "status", "--watch", "--json", "--workspace", workspace.uri]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def embed(workspace: Folder, bucket: Path, *beam_options: str) -> dict:
    options = ["--backbone", BACKBONE, "--json", "--max-failures", "1", "--workspace"]
    command = [*LINNAEUS, "embed", str(bucket), *options, workspace.uri, "--", *beam_options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(ended.stdout)


@pytest.mark.parametrize(
    "beam_options",
    [
        pytest.param([], id="one process"),
        pytest.param(PROCESSES, id="processes", marks=pytest.mark.soak),
    ],
)
def test_a_run_is_followed_to_its_commit_from_another_process(
    workspace, bucket, monkeypatch, beam_options
):
    run_id = begin(workspace, bucket, monkeypatch)
    watcher = watch(workspace)
    try:
        summary = embed(workspace, bucket, *beam_options)
        out, told = watcher.communicate(timeout=120)
    finally:
        watcher.kill()
    seen = json.loads(out)
    assert (watcher.returncode, seen["run_id"], seen["state"]) == (0, run_id, "committed")
    assert (seen["done"], seen["failed"], seen["cache_hits"]) == (60, 1, 0)
    assert seen["bytes_read"] == summary["counts"]["bytes_read"]
    events = [json.loads(line) for line in told.splitlines()]
    assert (events[-1]["event"], events[-1]["done"]) == ("done", 61)
    last = RunProgress.read_or_none(workspace, layout.progress(run_id))
    assert (last.state, last.done, last.failed, last.shards_done) == ("committed", 60, 1, 16)


def test_a_watcher_is_told_that_the_launcher_was_stopped(workspace, bucket, monkeypatch):
    run_id = begin(workspace, bucket, monkeypatch)
    watcher = watch(workspace)
    try:
        table = layout.embeddings(plans.read_spec(workspace, run_id).fingerprint)
        workspace.write_new(layout.attempt_part(table, run_id, 0, 1), b"in the way")
        options = ["--backbone", BACKBONE, "--workspace", workspace.uri]
        launcher = [*LINNAEUS, "embed", str(bucket), *options]
        failed = subprocess.run(launcher, capture_output=True, timeout=300, check=False)
        out, _ = watcher.communicate(timeout=120)
    finally:
        watcher.kill()
    seen = json.loads(out)
    assert (failed.returncode, watcher.returncode) == (1, 1)
    assert (seen["run_id"], seen["state"]) == (run_id, "stopped")
    assert "is there already" in seen["error"]
