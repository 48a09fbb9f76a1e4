"""Workflow runs and summaries that tests make up."""

from dataclasses import replace

from linnaeus.workflow.drift.measuring import Drift
from linnaeus.workflow.file.config import Images, Workflow
from linnaeus.workflow.summary.summary import ImageCounts, ModelChange, Summary
from linnaeus.workflow.workflow_run import Step, WorkflowRun

WORKFLOW_RUN = "20260301T020000Z"


def workflow_of(**settings) -> Workflow:
    """A workflow file's settings, of which few matter here."""
    return Workflow(workspace="/nowhere", images=Images(location="/pictures"), **settings)


def done_run(**facts) -> WorkflowRun:
    """A workflow run of which every step but the report is done; facts of steps by their name."""
    run = replace(
        WorkflowRun.begin("nightly", WORKFLOW_RUN), started_at="2026-03-01T02:00:00+00:00"
    )
    lines = {
        "manifest": {"objects": 105},
        "plan": {"to_embed": 7},
        "embed": {"done": 6, "embedded": 5, "failed": 1, "skipped": 98, "planned": 7},
        "train": {},
        "evaluate": {},
        "publish": {},
        "score": {"done": 6, "skipped": 98, "compared": 2, "changed": 1, "model_version": 3},
    }
    for name, own in lines.items():
        status = "skipped" if not own else "done"
        run = run.after(Step(name, status, f"{name} it is", 1.5, {**own, **facts.get(name, {})}))
    return replace(run, finished_at="2026-03-01T02:10:00+00:00")


def summary_of(**fields) -> Summary:
    """A good run's summary, with other fields where they are given."""
    known = {
        "workflow": "nightly",
        "workflow_run": WORKFLOW_RUN,
        "workspace": "/nowhere",
        "status": "done",
        "exit": 0,
        "headline": f"nightly {WORKFLOW_RUN} done: 7 embedded, 7 labelled",
        "started_at": "2026-03-01T02:00:00+00:00",
        "finished_at": "2026-03-01T02:10:00+00:00",
        "seconds": 600.0,
        "steps": (),
        "counts": ImageCounts(listed=105, embedded=7, labelled=7, skipped=98),
        "bytes_read": 7_000,
        "churn": None,
        "drift": Drift(why_not="nothing was labelled"),
        "new_failures": (),
        "cost": None,
        "model": ModelChange("labels", 3, 3, None),
        "report": None,
        "last_success_at": "2026-03-01T02:10:00+00:00",
    }
    return Summary(**{**known, **fields})
