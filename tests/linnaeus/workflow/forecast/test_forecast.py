"""What a workflow run is expected to do and take, and what became of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

import pytest

from linnaeus import manifests, models, runs
from linnaeus.errors import ConfigurationError
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.models import Model, ModelBackbone
from linnaeus.planning import EmbedJob, Job, ScoreJob
from linnaeus.progress import SILENT
from linnaeus.storage import Folder
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.forecast import forecast as forecasting
from linnaeus.workflow.forecast.against_actual import against_actual, table_text
from linnaeus.workflow.forecast.forecast import Lists, forecast
from linnaeus.workflow.forecast.past_runs import PastRuns, on_line
from linnaeus.workflow.forecast.text import text
from linnaeus.workflow.steps.listing import last_labelled
from linnaeus.workflow.workflow_run import Step, WorkflowRun
from tests.buckets import TestWorker, fill
from tests.pixel_engine import SPEC

PRICES = {"per_hour": 3.6, "per_gigabyte_read": 1000.0, "per_thousand_reads": 0.5}


@dataclass(frozen=True)
class Decided:
    train: bool
    why: str = "so it is"


@pytest.fixture
def bucket(tmp_path):
    return fill(tmp_path / "bucket", 20)


@pytest.fixture
def workflow(bucket, workspace):
    return Workflow.model_validate(
        {"workspace": workspace.uri, "images": {"location": str(bucket)}, "prices": PRICES}
    )


@pytest.fixture
def prepared(monkeypatch):
    """The pixel engine is there and takes a tenth of a second an image."""
    monkeypatch.setattr(forecasting.preparation, "find", lambda *_: SPEC)
    monkeypatch.setattr(
        forecasting,
        "estimate_seconds",
        lambda home, spec, plan: {
            "float32": plan.draft.new_objects / 10,
            "bfloat16": plan.draft.new_objects / 20,
        },
    )


def embed(workspace: Folder, images, job: Job | None = None):
    manifest = manifests.freeze(workspace, str(images))
    executor = InThisProcess(lambda run: TestWorker(workspace, run))
    run_job(workspace, job or EmbedJob(SPEC.fingerprint), manifest, executor, SILENT)


def publish(workspace: Folder) -> None:
    model = Model("labels", 1, ("bright", "dark"), ModelBackbone.of(SPEC))
    key = f"{models.version_prefix('labels', 1)}/{models.DESCRIPTION}"
    workspace.write(key, model.to_json().encode())


@pytest.mark.usefixtures("prepared")
def test_a_first_run_embeds_and_scores_everything(workspace, workflow, bucket):
    found = forecast(workspace, workflow)
    sizes = sum(path.stat().st_size for path in bucket.rglob("*.png"))
    assert (found.objects, found.to_embed, found.up_to_date, found.to_score) == (20, 20, 0, 20)
    assert (found.to_read_bytes, found.known_failures, found.train) == (sizes, 0, True)
    assert found.why == "there is no model labels yet"
    assert set(found.seconds) == {"manifest", "plan", "embed"}
    assert found.seconds["embed"] == 2
    assert found.unknown == ("train", "evaluate", "publish", "score", "report")
    machine = sum(found.seconds.values()) / 1000
    assert found.cost == pytest.approx(machine + sizes / 1e6 + 20 * 0.0005)
    assert json.loads(json.dumps(asdict(found)))["seconds"] == dict(found.seconds)


@pytest.mark.usefixtures("prepared")
def test_nothing_is_written_but_the_list(workspace, workflow):
    forecast(workspace, workflow)
    assert {entry.key.split("/")[0] for entry in workspace.list()} == {"manifests", "versions"}


@pytest.mark.usefixtures("prepared")
def test_the_next_run_has_only_what_is_new(workspace, workflow, bucket):
    embed(workspace, bucket)
    publish(workspace)
    embed(workspace, bucket, ScoreJob(SPEC.fingerprint, "labels", 1, "embedding"))
    fill(bucket, 5, first=20)
    (bucket / "even" / "0000.png").unlink()
    (bucket / "even" / "0002.png").write_bytes(b"changed, and no picture")
    found = forecast(workspace, workflow, Decided(False))
    assert (found.objects, found.to_embed, found.up_to_date, found.to_score) == (24, 6, 18, 6)
    assert (found.train, found.why) == (False, "so it is")
    assert forecast(workspace, workflow, Decided(True)).to_score == 24


@pytest.mark.usefixtures("prepared")
def test_what_failed_before_is_not_expected_to_be_labelled(workspace, workflow, bucket):
    (bucket / "even" / "0002.png").write_bytes(b"no picture")
    embed(workspace, bucket)
    found = forecast(workspace, workflow)
    assert (found.train, found.known_failures, found.to_score) == (True, 1, 19)


def test_what_failed_does_not_count_as_embedded_or_scored(workspace, workflow):
    kept = run(0, 25, 3.0)
    failed = {name: {**kept.step(name).facts, "done": 20} for name in ("embed", "score")}
    for name, facts in failed.items():
        kept = kept.after(replace(kept.step(name), facts=facts))
    plan = {"objects": 25, "to_embed": 25, "to_score": 25, "to_read_bytes": 0, "cost": 0}
    plan |= {"seconds": {}, "unknown": ["train"], "prices": workflow.prices.model_dump()}
    rows = {row.what: row.actual for row in against_actual(plan, kept)}
    assert (rows["embedded"], rows["scored"]) == (20, 20)


@pytest.mark.usefixtures("prepared")
def test_a_run_that_was_not_finished_is_named(workspace, workflow, bucket):
    manifest, job = manifests.freeze(workspace, str(bucket)), EmbedJob(SPEC.fingerprint)
    begun = runs.create_run(workspace, job, runs.make_plan(workspace, job, manifest))
    found = forecast(workspace, workflow)
    assert (found.joins_run, found.to_embed) == (begun.run_id, 20)
    assert f"joins run {begun.run_id}" in text(found)


@pytest.mark.usefixtures("prepared")
def test_nothing_new_is_nothing_to_do(workspace, workflow, bucket):
    embed(workspace, bucket)
    found = forecast(workspace, workflow, Decided(False))
    assert (found.to_embed, found.to_read_bytes, found.to_score) == (0, 0, 0)
    assert "embed" not in found.seconds
    assert "nothing; 20 up to date" in text(found)


@pytest.mark.usefixtures("prepared")
def test_other_labelled_images_are_embedded_too(workspace, workflow, tmp_path):
    labelled = fill(tmp_path / "labelled", 4, first=100)
    asked = workflow.model_dump() | {"labels": {"location": str(labelled)}}
    found = forecast(workspace, Workflow.model_validate(asked))
    assert (found.objects, found.to_embed, found.seconds["embed"]) == (20, 24, pytest.approx(2.4))


@pytest.mark.usefixtures("prepared")
def test_lists_that_are_frozen_are_not_frozen_again(workspace, workflow, bucket):
    manifest = manifests.freeze(workspace, str(bucket))
    fill(bucket, 3, first=20)
    found = forecast(workspace, workflow, lists=Lists(manifest, manifest))
    assert (found.objects, "manifest" in found.unknown) == (20, True)


@pytest.mark.usefixtures("prepared")
def test_changed_keys_are_put_into_the_last_list(workspace, workflow, bucket, tmp_path):
    manifests.freeze(workspace, str(bucket))
    fill(bucket, 3, first=20)
    keys = tmp_path / "changed.jsonl"
    keys.write_text(json.dumps({"uri": f"{bucket}/even/0020.png"}) + "\n")
    images = {"location": str(bucket), "changes": str(keys)}
    asked = Workflow.model_validate(workflow.model_dump() | {"images": images})
    assert forecast(workspace, asked).objects == 21


@pytest.mark.usefixtures("prepared")
def test_scoring_pixels_reads_the_images_again(workspace, workflow, bucket):
    asked = workflow.model_dump() | {"serving": {"payload": "pixels"}}
    sizes = sum(path.stat().st_size for path in bucket.rglob("*.png"))
    assert forecast(workspace, Workflow.model_validate(asked)).to_read_bytes == 2 * sizes


@pytest.mark.usefixtures("prepared")
def test_times_are_those_of_earlier_runs(workspace, workflow):
    for number, (embedded, seconds) in enumerate([(100, 12.0), (200, 22.0), (0, 1.0)]):
        run(number, embedded, seconds).save(workspace)
    workspace.write("workflow_runs/nightly/n0.summary.json", b"{}")
    workspace.write("workflow_runs/nightly/n0-embed.json", b"{}")
    workspace.write("workflow_runs/nightly/n9.json", b"damaged")
    found = forecast(workspace, workflow)
    assert found.seconds["embed"] == pytest.approx(4)  # 2 s, and 0.1 s an image
    assert found.seconds["train"] == 30
    assert (found.unknown, found.runs) == (("publish",), 2)
    assert "as in 2 runs before; not known yet: publish" in text(found)


@pytest.mark.usefixtures("prepared")
def test_listing_and_planning_take_as_long_as_now_whatever_the_first_run_took(workspace, workflow):
    slow = run(0, 20, 3.0)
    slow = slow.after(replace(slow.step("plan"), seconds=500.0))
    slow = slow.after(replace(slow.step("manifest"), seconds=500.0))
    slow.save(workspace)
    found = forecast(workspace, workflow)
    assert found.seconds["plan"] < 100 and found.seconds["manifest"] < 100


def test_getting_ready_takes_as_long_for_a_few_as_for_many():
    facts = {"planned": 1000, "working_seconds": 10.0}
    past = PastRuns([run(0, 10, 1.0).after(Step("score", "done", "", 40.0, facts))])
    assert past.seconds("score", 10) == pytest.approx(30.1)
    assert past.seconds("score", 2000) == pytest.approx(50)


def run(number: int, embedded: int, seconds: float) -> WorkflowRun:
    counts = {"planned": embedded, "done": embedded, "bytes_read": embedded * 1000}
    steps = [
        Step("manifest", "done", "", 1.0, {"objects": 1000}),
        Step("plan", "done", "", 1.0),
        Step("embed", "done" if embedded else "skipped", "", seconds, counts),
        Step("train", "done", "", 30.0),
        Step("evaluate", "done", "", 5.0),
        Step("publish", "skipped", "", 0.1),
        Step("score", "done", "", 10.0, {"planned": 100, "bytes_read": 0}),
        Step("report", "done", "", 2.0),
    ]
    return replace(WorkflowRun.begin("nightly", f"n{number}"), steps=tuple(steps))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], None),
        ([(100, 10)], 5),
        ([(100, 12), (200, 22)], 7),
        ([(100, 10), (200, 10)], 10),
        ([(100, 20), (200, 10)], 15),  # never less for more
        ([(100, 5), (200, 25)], 5),  # never below zero
    ],
)
def test_a_line_through_earlier_runs(points, expected):
    assert on_line(points, 50) == (None if expected is None else pytest.approx(expected))


def test_no_runs_say_nothing(workspace):
    assert PastRuns.of(workspace, "nightly").seconds("embed", 5) is None


@pytest.mark.usefixtures("prepared")
def test_a_forecast_in_words(workspace, workflow):
    lines = text(forecast(workspace, workflow)).split("\n")
    assert lines[0].startswith("images  20 images in ")
    assert lines[1] == "embed   20 images, 5.4 kB to read; 0 up to date"
    assert lines[2] == "train   yes: there is no model labels yet"
    assert lines[3] == "score   20 images"
    assert "embed 2.0 s), measured on this machine; not known yet: train, " in lines[4]
    assert lines[5] == '        embed would take 1.0 s with precision = "bfloat16"'
    assert lines[6].startswith(("cost    about ", "cost    under ")) and lines[6].endswith(" USD")


@pytest.mark.usefixtures("prepared")
def test_the_plan_against_what_became_of_it(workspace, workflow):
    plan = json.loads(json.dumps(asdict(forecast(workspace, workflow))))
    rows = {row.what: row for row in against_actual(plan, run(0, 25, 3.0))}
    assert (rows["listed"].expected, rows["listed"].actual) == (20, 1000)
    assert (rows["embedded"].expected, rows["embedded"].actual) == (20, 25)
    assert (rows["read"].actual, rows["read"].unit) == (25_000, "bytes")
    assert (rows["embed"].expected, rows["embed"].actual) == (2, 3)
    assert (rows["train"].expected, rows["train"].actual) == (None, 30)
    assert rows["cost"].actual == pytest.approx(52.1 / 1000 + 0.025 + 25 * 0.0005)
    assert "publish" not in rows
    assert (rows["in all"].expected, rows["in all"].actual) == (None, pytest.approx(52.1))
    shown = table_text(list(rows.values())).split("\n")
    assert shown[0].split() == ["plan", "actual"]
    assert shown[2].split() == ["embedded", "20", "25"]
    assert any(line.split() == ["train", "\N{EN DASH}", "30", "s"] for line in shown)
    assert len({len(line) for line in shown}) == 1


@pytest.mark.usefixtures("prepared")
def test_a_workflow_run_that_stopped_early_has_gaps(workspace, workflow):
    plan = asdict(forecast(workspace, workflow))
    stopped = WorkflowRun.begin("nightly", "n").after(Step("manifest", "failed", "no bucket", 1.0))
    rows = {row.what: row for row in against_actual(plan, stopped)}
    assert (rows["listed"].actual, rows["embed"].actual, rows["read"].actual) == (None, None, None)
    assert against_actual({}, stopped) == []
    assert table_text([]) == ""


def test_labels_of_a_list_that_somebody_deleted_are_compared_with_none(workspace, bucket):
    embed(workspace, bucket, ScoreJob(SPEC.fingerprint, "labels", 1, "embedding"))
    asked = Workflow.model_validate({"workspace": workspace.uri, "images": {"location": "/x"}})
    scored = manifests.newest(workspace, str(bucket))
    assert last_labelled(workspace, asked, scored) == scored
    workspace.delete(f"manifests/{scored.id}.parquet")
    listed = manifests.freeze(workspace, str(bucket))
    assert (listed.number, last_labelled(workspace, asked, listed)) == (2, None)


def test_images_that_are_not_there(workspace, workflow, bucket):
    asked = workflow.model_dump() | {"images": {"location": f"{bucket}/none/here"}}
    with pytest.raises(ConfigurationError, match="check the name"):
        forecast(workspace, Workflow.model_validate(asked))


@pytest.mark.slow
def test_a_backbone_that_is_not_there_is_measured_and_not_kept(workspace, workflow):
    asked = workflow.model_dump() | {"backbone": {"name": "pixels@8", "precision": "float32"}}
    found = forecast(workspace, Workflow.model_validate(asked))
    assert found.seconds["embed"] > 0
    assert {entry.key.split("/")[0] for entry in workspace.list()} == {"manifests", "versions"}
