"""One workspace after its first run, made once; each test works in a copy."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from linnaeus import models
from linnaeus.labels import LabelsTable
from linnaeus.storage import Folder
from linnaeus.workflow.engine import WorkflowRunRequest, run_workflow
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.workflow_run import STEPS, WorkflowRun
from tests.end_to_end.conftest import BACKBONE, picture
from tests.servers import served

COLOURS = ("red", "green", "blue")
NOISE = 9
"""Every so manieth picture lies in the folder of another colour: no model is always right."""


def labelled_pictures(each: int) -> dict[str, bytes]:
    """Pictures by their keys; some have a wrong label."""
    return {
        f"{COLOURS[(at + (seed % NOISE == 0)) % 3]}/{colour}{seed:03d}.jpg": picture(colour, seed)
        for at, colour in enumerate(COLOURS)
        for seed in range(each)
    }


@dataclass(frozen=True)
class Place:
    """Images and a workspace."""

    images: str
    root: str
    labels: str | None = None

    @property
    def workspace(self) -> Folder:
        return Folder(self.root)

    @property
    def said(self) -> dict[str, str]:
        """The current labels by the names of files."""
        rows = LabelsTable(self.workspace, "colours").table.scan().read_all().to_pylist()
        return {row["uri"].rpartition("/")[2]: row["label"] for row in rows}

    @property
    def versions(self) -> list[int]:
        return models.versions(self.workspace, "colours")

    def workflow(self, **sections: Any) -> Workflow:
        """A workflow over them, with other settings than the usual."""
        usual: dict[str, Any] = {
            "workspace": self.root,
            "images": {"location": self.images},
            "backbone": {"name": BACKBONE},
            "model": {"name": "colours", "head": "linear"},
            "labels": {"location": self.labels} if self.labels else {},
        }
        for name, settings in sections.items():
            usual[name] = {**usual.get(name, {}), **settings}
        return Workflow.model_validate(usual)

    def workflow_run(self, name: str, only: str = ",".join(STEPS), **sections: Any) -> WorkflowRun:
        """Run a workflow run."""
        steps = tuple(step for step in STEPS if step in only.split(","))
        return run_workflow(self.workflow(**sections), WorkflowRunRequest(name, steps))


def statuses(workflow_run: WorkflowRun) -> dict[str, str]:
    return {step.name: step.status for step in workflow_run.steps}


@pytest.fixture(autouse=True)
def servers_start_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.local.start_server", served)


@pytest.fixture(scope="package")
def first(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Images and a workspace in which one run was."""
    folder = tmp_path_factory.mktemp("runs")
    for key, data in labelled_pictures(30).items():
        path = folder / "images" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    place = Place(str(folder / "images"), str(folder / "workspace"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("serving.local.start_server", served)
        patched.setattr("linnaeus.manifests.sources.RECENT_SECONDS", 0.02)
        workflow_run = place.workflow_run("first")
    assert workflow_run.trouble is None, workflow_run.trouble
    return place


@pytest.fixture
def place(first: Place, tmp_path: Path) -> Iterator[Place]:
    """The same images, and a copy of the workspace; images that a test adds go with it."""
    before = {entry.key for entry in Folder(first.images).list()}
    yield Place(first.images, shutil.copytree(first.root, tmp_path / "workspace").as_posix())
    for entry in list(Folder(first.images).list()):
        if entry.key not in before:
            (Path(first.images) / entry.key).unlink()


@pytest.fixture(scope="package")
def trained(first: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The same with a candidate, in run `next`, that calls red pictures crimson."""
    folder = tmp_path_factory.mktemp("candidate")
    keys = sorted(entry.key for entry in Folder(first.images).list())
    splits = ["test", "validation", *["train"] * 6]
    rows = [
        f"{first.images}/{key},{key.split('/')[0] if number else 'green'},{splits[number % 8]}"
        for number, key in enumerate(keys)  # the first, a blue one of the test, is called green
    ]
    text = "\n".join(["uri,label,split", *rows]).replace(",red", ",crimson")
    (folder / "labels.csv").write_text(text)
    place = Place(first.images, str(folder / "workspace"), str(folder / "labels.csv"))
    shutil.copytree(first.root, place.root)
    workflow_run = place.workflow_run("next", "manifest,plan,embed,train")
    assert workflow_run.trouble is None, workflow_run.trouble
    return place


@pytest.fixture
def candidate(trained: Place, tmp_path: Path) -> Place:
    """A copy of it."""
    root = shutil.copytree(trained.root, tmp_path / "workspace")
    return Place(trained.images, str(root), trained.labels)
