"""Workflow runs from images to labels, and the next ones."""

import json
from collections import Counter
from pathlib import Path

import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.labels import LabelsTable
from linnaeus.storage import Folder
from linnaeus.workflow import engine
from linnaeus.workflow.engine import WorkflowRunStopped, steps_of
from linnaeus.workflow.steps import scoring
from linnaeus.workflow.workflow_run import STEPS, WorkflowRun
from tests.end_to_end.conftest import picture
from tests.linnaeus.workflow.conftest import Place, labelled_pictures, statuses

pytestmark = pytest.mark.slow

DONE = dict.fromkeys(STEPS, "done")


@pytest.fixture
def in_a_bucket(s3) -> Place:
    root = s3.bucket()
    for key, data in labelled_pictures(15).items():
        Folder(root).write(f"photos/{key}", data)
    return Place(f"{root}/photos", f"{root}/workspace")


def test_the_run_after_embeds_only_what_is_new_or_changed(in_a_bucket, monkeypatch):
    place = in_a_bucket
    run = place.workflow_run("1", output={"location": f"{place.images}-out", "format": "csv"})
    assert statuses(run) == DONE
    assert (run.step("embed").facts["embedded"], run.step("score").facts["done"]) == (45, 45)
    assert Folder(f"{place.images}-out").head("_SUCCESS.json")
    images = Folder(place.images)
    for seed in range(100, 105):
        images.write(f"blue/blue{seed}.jpg", picture("blue", seed))
    for seed in (1, 2):
        images.write(f"red/red{seed:03d}.jpg", picture("red", 200 + seed))
    images.delete("green/green004.jpg")
    run = place.workflow_run("2")
    assert statuses(run) == DONE
    said = {step.name: step.line for step in run.steps}
    assert "49 images" in said["manifest"] and "5 new, 2 changed, 1 deleted" in said["manifest"]
    assert said["embed"] == "7 images embedded, 42 up to date"
    assert run.step("embed").facts["embedded"] == 7
    assert run.step("publish").facts == {"model": "colours", "version": 2, "replaced": 1}
    beside = run.step("evaluate").facts
    assert beside["compared_images"] > 0 and beside["current_version"] == 1
    assert 0.5 < beside["current_accuracy"] <= 1
    found = place.said
    assert len(found) == 49 and "green004.jpg" not in found
    assert Counter(found[f"blue{seed}.jpg"] for seed in range(100, 105)) == {"blue": 5}
    kept = WorkflowRun.load(place.workspace, "nightly", "2")
    assert kept == run and kept.finished_at
    summary = json.loads(place.workspace.read("workflow_runs/nightly/2.summary.json"))
    assert summary["counts"]["embedded"] == 7
    assert place.workspace.read("workflow_runs/nightly/2.summary.txt")
    assert place.workspace.head(f"runs/{run.step('score').facts['run_id']}/report.html")
    assert run.forecast["to_embed"] == 7
    credentials_expire(place, monkeypatch)


def credentials_expire(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a workflow run: everything stays as it was."""
    Folder(place.images).write("blue/blue200.jpg", picture("blue", 200))
    before = place.said

    def expired(context):
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
            return scoring.score(context)

    monkeypatch.setitem(engine.WORK, "score", expired)
    run = place.workflow_run("3", retrain={"when": "never"})
    assert statuses(run)["score"] == "failed"
    assert "\n" not in run.trouble.line
    assert (place.said, place.versions) == (before, [1, 2])
    monkeypatch.undo()


def test_a_workflow_run_with_nothing_to_do_says_so_and_changes_nothing(place):
    before = place.said, place.versions
    run = place.workflow_run("next")
    assert {**statuses(run), "report": "skipped"} == dict.fromkeys(STEPS, "skipped")
    assert (place.said, place.versions) == before
    page = Path(run.step("report").facts["page"])
    assert page == Path(place.root, "workflow_runs/nightly/next.summary.html")
    assert "the labels are up to date" in page.read_text()


def test_a_step_without_those_before_it_says_which_is_missing(place):
    run = place.workflow_run("late", "score")
    assert statuses(run) == {"score": "failed"}
    assert "--only publish first" in run.step("score").line
    with pytest.raises(ConfigurationError, match="no step 'tain'"):
        steps_of("tain,score")


def test_behind_a_step_that_went_wrong_only_the_report_is_made(place):
    gone = {"location": f"{place.images}-gone"}
    run = place.workflow_run("bad", images=gone)
    assert statuses(run) == {"manifest": "failed", "report": "done"}
    assert "-gone" in run.trouble.line
    with pytest.raises(WorkflowRunStopped, match="stopped at manifest"):
        place.workflow_run("bad", "score")
    assert statuses(place.workflow_run("bad", "report"))["manifest"] == "failed"
    assert place.workflow_run("bad").trouble is None  # the same command again


def test_models_are_trained_on_images_that_lie_elsewhere(place, tmp_path):
    new = Folder(str(tmp_path / "new"))
    for seed in range(5):
        new.write(f"{seed}.jpg", picture("red", 500 + seed))
    run = place.workflow_run("1", images={"location": new.uri}, labels={"location": place.images})
    assert statuses(run)["train"] == "skipped"  # that model is there
    assert run.step("embed").facts["embedded"] == 5
    rows = LabelsTable(place.workspace, "colours").table.scan().read_all().to_pylist()
    assert {row["label"] for row in rows if row["uri"].startswith(new.uri)} == {"red"}
