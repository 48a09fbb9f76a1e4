"""The last step: whatever cannot be kept, people are told."""

from linnaeus.errors import StorageError
from linnaeus.progress import SILENT
from workflow import summary
from workflow.config import Workflow
from workflow.context import Context
from workflow.night import Night
from workflow.steps.reporting import report


def test_who_is_told_of_a_night_is_told_where_its_summary_cannot_be_kept(
    workspace, tmp_path, monkeypatch
):
    def refuse(*_):
        raise StorageError("the bucket is gone")

    monkeypatch.setattr(summary, "save_summary", refuse)
    numbers = tmp_path / "metrics" / "night.prom"
    numbers.parent.mkdir()
    workflow = Workflow.model_validate(
        {
            "workspace": workspace.uri,
            "images": {"location": str(tmp_path / "photos")},
            "metrics": {"textfile": str(numbers)},
        }
    )
    outcome = report(Context(workspace, workflow, Night.begin("nightly", "first"), SILENT))
    assert "the summary is not kept: the bucket is gone" in outcome.line
    assert "linnaeus_night" in numbers.read_text()
