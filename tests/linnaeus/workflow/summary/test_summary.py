"""A run's figures, from its record and what its jobs left; and how they are kept and shown."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from linnaeus import layout, manifests
from linnaeus.errors import FailureCode, StorageError
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.planning import EmbedJob
from linnaeus.progress import SILENT
from linnaeus.storage import Folder
from linnaeus.workflow.drift.measures import EmbeddingDrift, LabelDrift, Mover
from linnaeus.workflow.drift.measuring import Drift
from linnaeus.workflow.file.config import Prices
from linnaeus.workflow.forecast.cost import Cost
from linnaeus.workflow.summary.new_failures import FailureGroup, new_failures
from linnaeus.workflow.summary.saving import save_summary
from linnaeus.workflow.summary.summary import ImageCounts, LabelChurn, ModelChange, summarise
from linnaeus.workflow.summary.text import MOST_LINES, text
from linnaeus.workflow.workflow_run import Step, WorkflowRun
from tests.buckets import TestWorker, fill
from tests.linnaeus.workflow.workflow_runs import WORKFLOW_RUN, done_run, summary_of, workflow_of
from tests.pixel_engine import SPEC

SCHEMA = Path(__file__).parents[4] / "docs/how-to/workflow-run-summary.schema.json"


def check(summary):
    jsonschema.validate(json.loads(summary.to_json()), json.loads(SCHEMA.read_text()))
    return summary


def test_counts_churn_and_time_come_from_the_steps(workspace):
    found = check(summarise(workspace, workflow_of(), done_run()))
    assert (found.status, found.exit) == ("done", 0)
    assert found.counts == ImageCounts(
        listed=105, embedded=5, reused=1, labelled=6, failed=1, skipped=98
    )
    assert found.churn == LabelChurn(2, 1, 0.5)
    assert found.seconds == 600
    assert found.model == ModelChange("labels", 3, 3, None)
    assert found.last_success_at == found.finished_at == "2026-03-01T02:10:00+00:00"
    assert [step.name for step in found.steps][-1] == "score"
    again = done_run().after(Step("report", "done", ""))
    assert summarise(workspace, workflow_of(), again).steps == found.steps


def test_a_new_version_is_before_and_after(workspace):
    facts = {"model": "labels", "version": 4, "replaced": 3}
    run = done_run(publish=facts, evaluate={"accuracy": 0.9}, score={"model_version": 4})
    found = summarise(workspace, workflow_of(), run)
    assert found.model == ModelChange("labels", 3, 4, 0.9)


def test_the_first_version_has_none_before(workspace):
    run = done_run(publish={"model": "labels", "version": 1}, score={"model_version": 1})
    assert summarise(workspace, workflow_of(), run).model == ModelChange("labels", None, 1, None)


def test_a_refused_run_keeps_the_old_model_and_says_why(workspace):
    run = done_run(evaluate={"current_version": 3, "accuracy": 0.61})
    run = run.after(Step("publish", "refused", "accuracy 0.61 is below 0.9"))
    found = check(summarise(workspace, workflow_of(), run))
    assert (found.status, found.exit, found.last_success_at) == ("refused", 1, None)
    assert found.headline.endswith("refused in publish: accuracy 0.61 is below 0.9")
    assert found.model == ModelChange("labels", 3, 3, None)


def test_labels_that_a_gate_refused_are_not_counted_as_given(workspace):
    facts = {"run_id": None, "done": 6, "compared": 4, "changed": 3, "model_version": 3}
    refused = Step("score", "refused", "3 of 4 labels would change", facts=facts)
    found = check(summarise(workspace, workflow_of(), done_run().after(refused)))
    assert (found.status, found.counts.labelled) == ("refused", 0)
    assert found.churn == LabelChurn(4, 3, 0.75)
    assert "Churn: 3 of 4 labels would have changed (75.0%)" in text(found)


def test_a_workflow_run_that_failed_early_still_has_the_version_of_before(workspace):
    for version in (1, 2):
        workspace.write(f"models/labels/{version}/linnaeus.json", b"{}")
    run = WorkflowRun.begin("nightly", WORKFLOW_RUN).after(
        Step("manifest", "failed", "no such bucket")
    )
    found = check(summarise(workspace, workflow_of(), run))
    assert found.model == ModelChange("labels", 2, 2, None)
    assert "Model: labels:2 stays" in text(found)


def test_a_workflow_run_whose_labels_were_not_reached_has_failed(workspace):
    run = WorkflowRun.begin("nightly", WORKFLOW_RUN).after(Step("manifest", "done", "listed"))
    run = run.after(Step("plan", "done", "planned"))
    found = check(summarise(workspace, workflow_of(), run))
    assert (found.status, found.exit) == ("failed", 1)
    assert found.headline.endswith("failed embed was not finished")


def test_the_last_good_run_is_handed_on(workspace):
    first = summarise(workspace, workflow_of(), done_run())
    save_summary(workspace, first)
    second = replace(WorkflowRun.begin("nightly", "20260302T020000Z"))
    found = summarise(workspace, workflow_of(), second)
    save_summary(workspace, found)
    assert found.last_success_at == first.finished_at
    third = WorkflowRun.begin("nightly", "20260303T020000Z")
    assert summarise(workspace, workflow_of(), third).last_success_at == first.finished_at


def test_the_last_good_run_is_the_newest_whatever_a_scheduler_calls_its_runs(workspace):
    for name, finished in (("ant", "2026-03-01T02:10:00"), ("zebra", "2026-03-02T02:10:00")):
        save_summary(workspace, summary_of(workflow_run=name, last_success_at=finished))
    found = summarise(workspace, workflow_of(), WorkflowRun.begin("nightly", "badger"))
    assert found.last_success_at == "2026-03-02T02:10:00"


@pytest.mark.parametrize("broken", [b'{"cut', b"[]", b"\xff", b""])
def test_a_broken_earlier_summary_does_not_keep_a_run_from_being_summed_up(workspace, broken):
    workspace.write("workflow_runs/nightly/20260228T020000Z.summary.json", broken)
    found = check(summarise(workspace, workflow_of(), WorkflowRun.begin("nightly", WORKFLOW_RUN)))
    assert (found.status, found.last_success_at) == ("failed", None)


def test_cost_is_of_hours_bytes_and_reads(workspace):
    prices = Prices(per_hour=3600, per_gigabyte_read=1, per_thousand_reads=1000)
    run = done_run(embed={"bytes_read": 2_000_000_000})
    cost = summarise(workspace, workflow_of(prices=prices), run).cost
    assert (cost.machine, cost.transfer, cost.reads) == (7 * 1.5, 2.0, 7.0)
    assert cost.total == 7 * 1.5 + 9
    free = Prices(per_thousand_reads=0)
    assert summarise(workspace, workflow_of(prices=free), run).cost is None


def test_both_forms_are_kept_beside_the_record(workspace):
    summary = summarise(workspace, workflow_of(), done_run())
    where = save_summary(workspace, summary)
    assert where == workspace.uri_of(f"workflow_runs/nightly/{WORKFLOW_RUN}.summary.txt")
    assert workspace.read(f"workflow_runs/nightly/{WORKFLOW_RUN}.summary.txt").decode() == text(
        summary
    )
    kept = json.loads(workspace.read(f"workflow_runs/nightly/{WORKFLOW_RUN}.summary.json"))
    assert kept == summary.to_dict()


def test_new_failures_are_grouped_by_code_with_examples(workspace, tmp_path):
    bucket = fill(tmp_path / "bucket", 4)
    for number in range(5):
        (bucket / f"broken{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (bucket / "empty.png").write_bytes(b"")
    manifest = manifests.freeze(workspace, str(bucket))
    executor = InThisProcess(lambda spec: TestWorker(workspace, spec))
    run_id = run_job(workspace, EmbedJob(SPEC.fingerprint), manifest, executor, SILENT).run_id
    groups = new_failures(workspace, [run_id])
    assert {group.code: group.images for group in groups} == {"CORRUPT": 5, "EMPTY": 1}
    assert groups[0].examples == tuple(f"{bucket}/broken{number}.png" for number in range(3))
    assert new_failures(workspace, ["01JNOTHERE"]) == ()


def test_failures_of_a_run_that_a_gate_refused_are_found(workspace, tmp_path):
    bucket = fill(tmp_path / "bucket", 2)
    (bucket / "empty.png").write_bytes(b"")
    manifest = manifests.freeze(workspace, str(bucket))

    class Refused(InThisProcess):
        def execute(self, run):
            super().execute(run)
            raise KeyboardInterrupt

    executor = Refused(lambda spec: TestWorker(workspace, spec))
    with pytest.raises(KeyboardInterrupt):
        run_job(workspace, EmbedJob(SPEC.fingerprint), manifest, executor, SILENT)
    [run_id] = [name for name in workspace.folders(layout.RUNS) if not name.startswith(".")]
    assert new_failures(workspace, [run_id]) == (
        FailureGroup("EMPTY", 1, (f"{bucket}/empty.png",)),
    )


def test_the_page_is_the_report_steps_or_the_runs(workspace):
    run = done_run(score={"run_id": "01RUN"})
    assert summarise(workspace, workflow_of(), run).report is None
    workspace.write(layout.report("01RUN"), b"<html>")
    at_run = summarise(workspace, workflow_of(), run).report
    assert at_run == workspace.uri_of("runs/01RUN/report.html")
    run = run.after(Step("report", "done", "made", facts={"page": "s3://b/page.html"}))
    assert summarise(workspace, workflow_of(), run).report == "s3://b/page.html"


def test_little_is_said_of_little():
    cost = Cost("EUR", 0.004, 0.004, 0, 0)
    told = text(summary_of(cost=cost, counts=ImageCounts(listed=2, known_failures=1)))
    assert "cost under 0.01 EUR" in told and "1 known failure\n" in told
    assert "cost about 12.30 EUR" in text(summary_of(cost=replace(cost, total=12.3)))


def everything():
    mover = Mover("cat", 0.5, 0.25)
    return summary_of(
        churn=LabelChurn(100, 12, 0.12),
        counts=ImageCounts(105, 7, 1, 7, 40, 30, 5, 98),
        drift=Drift(
            "labels:4",
            EmbeddingDrift(500, 1000, 0.3, 0.05, 0.29, "some"),
            LabelDrift(500, 1000, 0.4, 0.01, 0.39, 0.2, "large", (mover, mover, mover)),
            0.02,
        ),
        new_failures=tuple(FailureGroup(f"CODE{n}", 9, ("s3://b/x", "s3://b/y")) for n in range(9)),
        model=ModelChange("labels", 3, 4, 0.91),
        report="s3://bucket/runs/01/report.html",
    )


def test_the_text_is_short_and_says_all_that_matters():
    summary = everything()
    steps = [Step(name, "done", "x" * 300 + "\nsecond", 1.0) for name in "abcdefgh"]
    told = text(replace(summary, steps=tuple(steps)))
    lines = told.splitlines()
    assert len(lines) <= MOST_LINES and max(map(len, lines)) <= 200
    for phrase in (
        "12 of 100 labels changed (12.0%)",
        "labels:4, after labels:3, test accuracy 0.910",
        "some (0.29 of the training images' radius)",
        "large (stability index 0.39); cat 25.0% to 50.0%",
        "CODE0 9, such as s3://b/x",
        "and of 5 more codes",
        "s3://bucket/runs/01/report.html",
        "40 failed (30 new)",
    ):
        assert phrase in told
    assert lines[-1].startswith("  h done")


def test_the_schema_takes_every_field_and_nothing_else():
    check(everything())
    schema = json.loads(SCHEMA.read_text())
    assert set(schema["properties"]) == set(json.loads(everything().to_json()))
    with pytest.raises(jsonschema.ValidationError):
        check(summary_of(status="splendid"))


class Gone(Folder):
    """A bucket that vanished."""

    def refuse(self, *_):
        raise StorageError("no such bucket", FailureCode.NOT_FOUND)

    read = open = head = list = folders = page = delta = refuse


def test_a_workflow_run_whose_workspace_is_gone_can_still_be_notified(tmp_path):
    run = done_run(embed={"run_id": "01A"}, score={"run_id": "01B"})
    run = run.after(Step("score", "failed", "no such bucket", facts={"run_id": "01B"}))
    found = check(summarise(Gone(str(tmp_path)), workflow_of(), run))
    assert (found.status, found.new_failures, found.report) == ("failed", (), None)
    assert found.last_success_at is None
    assert "Last good run: none that is known" in text(found)
    found = summarise(Gone(str(tmp_path)), workflow_of(), done_run(score={"run_id": "01B"}))
    assert "no such bucket" in found.drift.why_not
