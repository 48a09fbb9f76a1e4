"""The last step: whatever cannot be kept, people are notified."""

from linnaeus.errors import StorageError
from linnaeus.progress import SILENT
from linnaeus.workflow.context import Context
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.steps.reporting import report
from linnaeus.workflow.summary import saving
from linnaeus.workflow.workflow_run import WorkflowRun


def test_receivers_are_notified_where_its_summary_cannot_be_kept(workspace, tmp_path, monkeypatch):
    def refuse(*_):
        raise StorageError("the bucket is gone")

    monkeypatch.setattr(saving, "save_summary", refuse)
    numbers = tmp_path / "metrics" / "run.prom"
    numbers.parent.mkdir()
    workflow = Workflow.model_validate(
        {
            "workspace": workspace.uri,
            "images": {"location": str(tmp_path / "photos")},
            "metrics": {"textfile": str(numbers)},
        }
    )
    outcome = report(Context(workspace, workflow, WorkflowRun.begin("nightly", "first"), SILENT))
    assert "the summary is not kept: the bucket is gone" in outcome.line
    assert "linnaeus_workflow_run" in numbers.read_text()
