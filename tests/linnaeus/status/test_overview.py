import json
import os

import pytest

from linnaeus.cli.wording import facts_text
from linnaeus.errors import ConfigurationError
from linnaeus.status import overview
from linnaeus.storage import Folder


def test_an_empty_workspace_has_nothing(tmp_path):
    found = overview(Folder(str(tmp_path)))
    assert (found["tables"], found["models"], found["runs"]) == ({}, [], [])


def test_a_workspace_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=f"there is no workspace {tmp_path}/typo"):
        overview(Folder(f"{tmp_path}/typo"))


@pytest.mark.slow
def test_a_prefix_without_objects_is_no_workspace(s3):
    with pytest.raises(ConfigurationError, match=r"there is no workspace .*/typo"):
        overview(Folder(f"{s3.bucket()}/typo"))


def summary(workspace, workflow, name, status="done"):
    counts = {"embedded": 7, "labelled": 6, "failed": 1, "listed": 105}
    why = f"{workflow} {name} {status}: why"
    summary = {"schema_version": 1, "status": status, "counts": counts, "headline": why}
    key = f"workflow_runs/{workflow}/{name}"
    workspace.write(f"{key}.json", b"the record, which nobody reads here")
    workspace.write(f"{key}.summary.json", json.dumps(summary).encode())
    workspace.write(f"{key}.summary.txt", b"for people")


def test_the_newest_workflow_runs_of_each_workflow_are_shown(workspace):
    for day in range(1, 6):
        summary(workspace, "nightly", f"2026030{day}T020000Z", "refused" if day == 5 else "done")
    summary(workspace, "weekly", "20260301T040000Z")
    counts = {"embedded": 7, "labelled": 6, "failed": 1}
    shown = overview(workspace)["workflow_runs"]
    assert [(one["workflow"], one["workflow_run"][:8], one["status"]) for one in shown] == [
        ("nightly", "20260305", "refused"),
        ("nightly", "20260304", "done"),
        ("nightly", "20260303", "done"),
        ("weekly", "20260301", "done"),
    ]
    assert {**shown[0], **counts} == shown[0]
    assert shown[0]["why"] == "nightly 20260305T020000Z refused: why"
    assert "why" not in shown[1]
    [line] = [
        line for line in facts_text({"workflow_runs": shown}).splitlines() if "weekly" in line
    ]
    assert line.endswith(
        "workflow_run 20260301T040000Z, status done, embedded 7, labelled 6, failed 1"
    )


def test_the_newest_workflow_runs_are_so_by_their_time_whatever_they_are_called(tmp_path):
    workspace = Folder(str(tmp_path))
    for age, name in enumerate(["first", "b7c1", "second", "20260305T020000Z"]):
        summary(workspace, "nightly", name)
        path = tmp_path / "workflow_runs" / "nightly" / f"{name}.summary.json"
        os.utime(path, (1000 + age, 1000 + age))
    shown = overview(workspace)["workflow_runs"]
    assert [one["workflow_run"] for one in shown] == ["20260305T020000Z", "second", "b7c1"]


def test_without_workflow_runs_nothing_is_said_of_them(tmp_path):
    assert "workflow_runs" not in overview(Folder(str(tmp_path)))
