"""Nights from images to labels, and the next ones."""

import json
from collections import Counter
from pathlib import Path

import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.labels import LabelsTable
from linnaeus.storage import Folder
from linnaeus.workflow import engine
from linnaeus.workflow.engine import NightStopped, steps_of
from linnaeus.workflow.night import STEPS, Night
from linnaeus.workflow.steps import scoring
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


def test_the_night_after_embeds_only_what_is_new_or_changed(in_a_bucket, monkeypatch):
    place = in_a_bucket
    night = place.night("1", output={"location": f"{place.images}-out", "format": "csv"})
    assert statuses(night) == DONE
    assert (night.step("embed").facts["embedded"], night.step("score").facts["done"]) == (45, 45)
    assert Folder(f"{place.images}-out").head("_SUCCESS.json")
    images = Folder(place.images)
    for seed in range(100, 105):
        images.write(f"blue/blue{seed}.jpg", picture("blue", seed))
    for seed in (1, 2):
        images.write(f"red/red{seed:03d}.jpg", picture("red", 200 + seed))
    images.delete("green/green004.jpg")
    night = place.night("2")
    assert statuses(night) == DONE
    said = {step.name: step.line for step in night.steps}
    assert "49 images" in said["manifest"] and "5 new, 2 changed, 1 deleted" in said["manifest"]
    assert said["embed"] == "7 images embedded, 42 up to date"
    assert night.step("embed").facts["embedded"] == 7
    assert night.step("publish").facts == {"model": "colours", "version": 2, "replaced": 1}
    beside = night.step("evaluate").facts
    assert beside["compared_images"] > 0 and beside["current_version"] == 1
    assert 0.5 < beside["current_accuracy"] <= 1
    found = place.said
    assert len(found) == 49 and "green004.jpg" not in found
    assert Counter(found[f"blue{seed}.jpg"] for seed in range(100, 105)) == {"blue": 5}
    kept = Night.load(place.workspace, "nightly", "2")
    assert kept == night and kept.finished_at
    summary = json.loads(place.workspace.read("nights/nightly/2.summary.json"))
    assert summary["counts"]["embedded"] == 7
    assert place.workspace.read("nights/nightly/2.summary.txt")
    assert place.workspace.head(f"runs/{night.step('score').facts['run_id']}/report.html")
    assert night.forecast["to_embed"] == 7
    credentials_expire(place, monkeypatch)


def credentials_expire(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a night: everything stays as it was."""
    Folder(place.images).write("blue/blue200.jpg", picture("blue", 200))
    before = place.said

    def expired(context):
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
            return scoring.score(context)

    monkeypatch.setitem(engine.WORK, "score", expired)
    night = place.night("3", retrain={"when": "never"})
    assert statuses(night)["score"] == "failed"
    assert "\n" not in night.trouble.line
    assert (place.said, place.versions) == (before, [1, 2])
    monkeypatch.undo()


def test_a_night_with_nothing_to_do_says_so_and_changes_nothing(place):
    before = place.said, place.versions
    night = place.night("next")
    assert {**statuses(night), "report": "skipped"} == dict.fromkeys(STEPS, "skipped")
    assert (place.said, place.versions) == before
    page = Path(night.step("report").facts["page"])
    assert page == Path(place.root, "nights/nightly/next.summary.html")
    assert "the labels are up to date" in page.read_text()


def test_a_step_without_those_before_it_says_which_is_missing(place):
    night = place.night("late", "score")
    assert statuses(night) == {"score": "failed"}
    assert "--only publish first" in night.step("score").line
    with pytest.raises(ConfigurationError, match="no step 'tain'"):
        steps_of("tain,score")


def test_behind_a_step_that_went_wrong_only_the_report_is_made(place):
    gone = {"location": f"{place.images}-gone"}
    night = place.night("bad", images=gone)
    assert statuses(night) == {"manifest": "failed", "report": "done"}
    assert "-gone" in night.trouble.line
    with pytest.raises(NightStopped, match="stopped at manifest"):
        place.night("bad", "score")
    assert statuses(place.night("bad", "report"))["manifest"] == "failed"
    assert place.night("bad").trouble is None  # the same command again


def test_models_are_trained_on_images_that_lie_elsewhere(place, tmp_path):
    new = Folder(str(tmp_path / "new"))
    for seed in range(5):
        new.write(f"{seed}.jpg", picture("red", 500 + seed))
    night = place.night("1", images={"location": new.uri}, labels={"location": place.images})
    assert statuses(night)["train"] == "skipped"  # that model is there
    assert night.step("embed").facts["embedded"] == 5
    rows = LabelsTable(place.workspace, "colours").table.scan().read_all().to_pylist()
    assert {row["label"] for row in rows if row["uri"].startswith(new.uri)} == {"red"}
