"""Evaluating and labelling by models that give several labels, or none when they are not sure."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from linnaeus import Workspace, manifests, preparation
from linnaeus.backbones import BackboneSpec
from linnaeus.engines import Engine, open_engine
from linnaeus.errors import ConfigurationError
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.manifests import Manifest
from linnaeus.planning import EmbedJob
from linnaeus.progress import SILENT
from linnaeus.storage import Folder
from linnaeus.training.evaluate import evaluate
from linnaeus.training.evaluation.decisions import DecisionRule
from linnaeus.training.labelling import Labeller
from linnaeus.worker import Worker
from tests import colour_model
from tests.colour_model import BACKBONE, LABELS

pytestmark = pytest.mark.slow

SEVERAL, ABSTAINING, OLD = "colours:1", "colours:2", "colours:3"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate") / "bucket"


@pytest.fixture(scope="module")
def painted(bucket: Path) -> dict[str, tuple[str, ...]]:
    return colour_model.paint(bucket)


@pytest.fixture(scope="module")
def workspace(painted: dict[str, tuple[str, ...]], bucket: Path) -> Folder:
    """With a model of each kind and the embeddings of all pictures."""
    workspace = Folder(str(bucket.parent / "workspace"))
    colour_model.publish(workspace, DecisionRule(LABELS, "multi", {"red": 0.7}))
    colour_model.publish(workspace, DecisionRule(LABELS, thresholds={"abstain_below": 0.9}))
    older = colour_model.publish(workspace, DecisionRule(LABELS))
    described = Path(workspace.uri_of(older.prefix)) / "linnaeus.json"
    fields = json.loads(described.read_text("utf-8"))
    del fields["thresholds"], fields["task"]
    described.write_text(json.dumps(fields), "utf-8")

    spec = preparation.prepare(workspace, BACKBONE)
    executor = InThisProcess(lambda run: Worker(workspace, run))
    everything = manifests.freeze(workspace, str(bucket))
    run_job(workspace, EmbedJob(spec.fingerprint), everything, executor, SILENT)
    return workspace


def listed(workspace: Folder, file: Path, rows: Iterable[dict]) -> Manifest:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return manifests.freeze(workspace, str(file))


def test_several_labels_are_judged_one_by_one_and_together(
    workspace: Folder, painted: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    rows = [{"uri": uri, "labels": colours} for uri, colours in painted.items()]
    rows[1]["labels"] = ["green", "red"]  # of the red picture
    found = evaluate(workspace, listed(workspace, tmp_path / "all.jsonl", rows), SEVERAL)
    assert (found["task"], found["split"], found["images"]) == ("multi", "all", 8)
    assert found["accuracy"] == 7 / 8
    assert found["confusion"] == [[[4, 0], [0, 4]], [[3, 0], [1, 4]], [[4, 0], [0, 4]]]
    assert found["classes"]["red"]["threshold"] == pytest.approx(0.7)
    assert found["classes"]["green"]["recall"] == 4 / 5
    assert found["micro"]["precision"] == 1


def test_what_a_model_says_of_pictures_it_is_not_sure_of_is_judged_apart(
    workspace: Folder, painted: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    rows = [{"uri": uri, "label": colours[0]} for uri, colours in painted.items() if colours]
    manifest = listed(workspace, tmp_path / "single.jsonl", rows)
    found = evaluate(workspace, manifest, ABSTAINING)
    assert found["abstention"] == {
        "threshold": 0.9,
        "unknown": 4,
        "coverage": 3 / 7,
        "precision": 1,
    }
    older = evaluate(workspace, manifest, OLD)
    assert "abstention" not in older
    assert older["accuracy"] == found["accuracy"]


def test_a_class_that_no_picture_has_does_no_harm(
    workspace: Folder, painted: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    rows = [{"uri": uri, "label": "red"} for uri, colours in painted.items() if colours == ("red",)]
    found = evaluate(workspace, listed(workspace, tmp_path / "red.jsonl", rows), OLD)
    assert (found["accuracy"], found["macro"]["f1"]) == (1, 1)
    assert found["classes"]["blue"]["support"] == 0


def test_several_labels_of_a_picture_are_refused_by_a_model_that_gives_one(
    workspace: Folder, painted: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    rows = [{"uri": uri, "labels": colours} for uri, colours in painted.items() if len(colours) > 1]
    manifest = listed(workspace, tmp_path / "several.jsonl", rows)
    with pytest.raises(ConfigurationError, match=r"png has \d labels, and model colours:3 gives"):
        evaluate(workspace, manifest, OLD)


def test_a_folder_is_no_photo_and_its_command_is_named(workspace: Folder, tmp_path: Path) -> None:
    [found] = Labeller(workspace).label([str(tmp_path)], OLD)
    assert found.error == f"cannot read {tmp_path}: is a directory: `linnaeus score` labels folders"


def test_a_model_is_loaded_once_for_all_photos_until_another_is_asked(
    workspace: Folder, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path] = []

    def opened(files: Path, spec: BackboneSpec) -> Engine:
        loads.append(files)
        return open_engine(files, spec)

    monkeypatch.setattr("linnaeus.training.labelling.open_engine", opened)
    labeller, photo = Workspace(workspace.uri), str(bucket / "green.png")
    assert [labeller.label([photo], ABSTAINING)[0].label for _ in range(3)] == ["green"] * 3
    assert len(loads) == 1
    labeller.label([photo], SEVERAL)
    assert [one.label for one in labeller.label([photo, photo], SEVERAL)] == ["green"] * 2
    assert len(loads) == 2


def test_photos_are_unknown_where_the_model_is_not_sure_and_have_all_labels_that_apply(
    workspace: Folder, bucket: Path
) -> None:
    photos = [str(bucket / name) for name in ("green.png", "green-blue.png", "black.png")]
    sure, unsure, _ = Labeller(workspace).label(photos, ABSTAINING)
    assert (sure.label, sure.chosen) == ("green", ["green"])
    assert (unsure.label, unsure.chosen) == ("unknown", [])
    assert {label for label, _ in unsure.labels[:2]} == {"green", "blue"}
    one, two, none = Labeller(workspace).label(photos, SEVERAL)
    assert (one.chosen, set(two.chosen), none.chosen) == (["green"], {"green", "blue"}, [])
    assert none.label == "unknown"
