"""Workflow runs that overlap, are killed, or are done by several processes."""

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from linnaeus.cli.app import app
from linnaeus.errors import LinnaeusError
from linnaeus.jobs import Slice, frozen_runs, slices
from linnaeus.storage import Folder
from linnaeus.worker import Worker
from linnaeus.workflow.engine import WorkflowRunRequest, run_workflow
from linnaeus.workflow.file.config import Schedule
from linnaeus.workflow.freezing import FreezeRequest, freeze
from linnaeus.workflow.lock import WorkflowLock, WorkflowLocked, locked
from tests.end_to_end.conftest import picture
from tests.linnaeus.workflow.conftest import Place, statuses

pytestmark = pytest.mark.slow

NEVER = {"retrain": {"when": "never"}}
FOR_EVER = """
import sys, time
from linnaeus.workflow import engine
from linnaeus.workflow.file.loading import read_workflow

def work(context):
    print("working", flush=True)
    time.sleep(600)

engine.WORK["embed"] = work
engine.run_workflow(read_workflow(sys.argv[1]), engine.WorkflowRunRequest("first"))
"""


@pytest.fixture
def file(place: Place, tmp_path: Path) -> str:
    path = tmp_path / "workflow.toml"
    path.write_text(
        f'workspace = "{place.root}"\nimages.location = "{place.images}"\n'
        'backbone.name = "pixels@8"\nmodel.name = "colours"\nmodel.head = "linear"\n'
        'retrain.when = "never"\n'
    )
    return str(path)


def linnaeus(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from linnaeus.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_second_run_leaves_and_a_killed_one_is_taken_over_at_once(place, file):
    (Path(place.images) / "red/new.jpg").write_bytes(picture("red", 900))
    with subprocess.Popen(
        [sys.executable, "-c", FOR_EVER, file], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout.readline() == "working\n"
            other = linnaeus("run", file)
            assert other.returncode == 1
            assert f"(process {running.pid} on " in other.stderr.splitlines()[-1]
            assert "run first of nightly is going on" in other.stderr
            assert place.workspace.head("workflow_runs/nightly/first.json")  # of the steps so far
        finally:
            os.kill(running.pid, signal.SIGKILL)
    workflow_run = run_workflow(place.workflow(**NEVER), WorkflowRunRequest("second"))
    assert workflow_run.trouble is None
    assert workflow_run.step("embed").facts["embedded"] == 1
    assert place.said["new.jpg"] == "red"


def test_a_workflow_run_waits_for_another_where_it_is_to(workspace):
    schedule = Schedule(overlap="wait", wait_minutes=0.001)
    first = WorkflowLock(workspace, "nightly", "1", Schedule(), timedelta(seconds=30))
    from linnaeus.progress import SILENT

    with (
        locked(first, SILENT),
        pytest.raises(WorkflowLocked, match="still, after 0 minutes"),
        locked(WorkflowLock(workspace, "nightly", "2", schedule, timedelta(seconds=1.2)), SILENT),
    ):
        raise AssertionError
    with locked(WorkflowLock(workspace, "nightly", "2", schedule, timedelta(seconds=1.2)), SILENT):
        pass


def test_a_frozen_run_is_done_by_slices_and_committed_by_the_run(place):
    for seed in range(3):
        (Path(place.images) / f"red/new{seed}.jpg").write_bytes(picture("red", 900 + seed))
    workflow = place.workflow(**NEVER)
    frozen = freeze(workflow, FreezeRequest("sliced", "embed", 16))
    assert (frozen.plan, frozen.slices, frozen.objects) == ("nightly-sliced-embed", 2, 3)
    assert frozen == freeze(workflow, FreezeRequest("sliced", "embed", 16))
    kept = json.loads(place.workspace.read("workflow_runs/nightly/sliced-embed.json"))
    assert kept["plan"] == frozen.plan
    run = frozen_runs.load(place.workspace, frozen.plan)
    for index in (2, 1):
        slices.do_slice(
            place.workspace, run, Slice(index, 2), lambda run: Worker(place.workspace, run)
        )
    workflow_run = place.workflow_run("sliced", "embed", **NEVER)
    assert workflow_run.step("embed").facts["run_id"] == frozen.run_id
    assert workflow_run.step("embed").facts["embedded"] == 3
    assert place.workflow_run("sliced", "train,evaluate,publish", **NEVER).trouble is None
    frozen = freeze(workflow, FreezeRequest("sliced", "score"))
    assert frozen.objects == 3
    workflow_run = place.workflow_run("sliced", "score,report", **NEVER)
    assert workflow_run.step("score").facts["run_id"] == frozen.run_id
    assert list(statuses(workflow_run).values()).count("done") == 5  # not train, evaluate, publish
    assert freeze(workflow, FreezeRequest("nothing", "embed")).slices == 0


def test_what_cannot_be_frozen_is_in_the_record(place):
    gone = place.workflow(images={"location": f"{place.images}-gone"})
    with pytest.raises(LinnaeusError, match=r"manifest: .*-gone"):
        freeze(gone, FreezeRequest("bad", "embed"))
    assert statuses(place.workflow_run("bad", "report")) == {"manifest": "failed", "report": "done"}


def test_the_command_says_what_became_of_each_step(place, file):
    done = CliRunner().invoke(app, ["run", file, "--id", "cli"])
    assert done.exit_code == 0, done.output
    assert "Run cli of nightly: nothing to do" in done.stdout
    done = CliRunner().invoke(app, ["run", file, "--id", "cli", "--only", "report", "--json"])
    assert json.loads(done.stdout)["id"] == "cli"
    dry = CliRunner().invoke(app, ["run", file, "--dry-run"])
    assert dry.exit_code == 0 and "retraining is switched off" in dry.stdout
    frozen = CliRunner().invoke(
        app, ["run", file, "--freeze", "embed", "--id", "cli", "--slices", "4", "--json"]
    )
    assert json.loads(frozen.stdout)["slices"] == 0
    for wrong in (
        ["--only", "embde"],
        ["--freeze", "embed"],
        ["--dry-run", "--only", "embed"],
        ["--slices", "4"],
        ["--id", "../elsewhere"],
        ["--id", ""],
    ):
        assert CliRunner().invoke(app, ["run", file, *wrong]).exit_code == 2


def test_a_vanished_bucket_is_one_line_and_status_1(place, tmp_path):
    path = tmp_path / "gone.toml"
    text = 'workspace = "{}"\nimages.location = "{}"\nbackbone.name = "pixels@8"\n'
    path.write_text(text.format(place.root, f"{place.images}-gone"))
    done = CliRunner().invoke(app, ["run", str(path), "--id", "gone"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("manifest: ")
    assert Folder(place.root).head("workflow_runs/nightly/gone.json")


def test_a_workspace_in_a_bucket_that_vanished_is_one_line(s3, tmp_path):
    path = tmp_path / "gone.toml"
    path.write_text('workspace = "s3://vanished/w"\nimages.location = "s3://vanished/i"\n')
    done = CliRunner().invoke(app, ["run", str(path)])
    assert done.exit_code == 1
    [line] = [line for line in done.stderr.splitlines() if line]
    assert "vanished" in line
