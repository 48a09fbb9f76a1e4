"""What a model decides on reaches the tables: several labels, or `unknown`."""

import time
from pathlib import Path
from unittest import mock

import pytest

from beam_pipelines import score as score_job
from beam_pipelines.score import ScoreRequest, score
from linnaeus import layout
from linnaeus.labels import LabelsTable
from linnaeus.records import PREDICTIONS
from linnaeus.storage import Folder
from linnaeus.tables import Table
from linnaeus.training.evaluation.decisions import DecisionRule
from tests import colour_model
from tests.colour_model import LABELS, NAME
from tests.servers import served

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def servers_start_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.local.start_server", served)


def scored(workspace: Folder, images: Path) -> list[dict]:
    """The predictions, after a look at whether the labels table says the same."""
    began = time.perf_counter()
    loading = mock.patch.object(score_job, "load_checked", wraps=score_job.load_checked)
    with loading as loads:
        summary = score(workspace, ScoreRequest(str(images), NAME))
    assert loads.call_count == 1
    assert summary.seconds > 0.9 * (time.perf_counter() - began)  # the listing's time, too
    predictions = Table(workspace, layout.predictions(NAME), PREDICTIONS).scan().read_all()
    columns = ["uri", "label", "labels", "confidence"]
    labels = LabelsTable(workspace, NAME).table.scan().read_all()
    assert labels.select(columns).sort_by("uri") == predictions.select(columns).sort_by("uri")
    return predictions.to_pylist()


def test_all_labels_that_apply_are_in_the_tables(prepared, tmp_path):
    workspace, painted = prepared("several"), colour_model.paint(tmp_path / "bucket")
    colour_model.publish(workspace, DecisionRule(LABELS, "multi", {"red": 0.7}))
    rows = scored(workspace, tmp_path / "bucket")
    assert {row["uri"]: set(row["labels"]) for row in rows} == {
        uri: set(colours) for uri, colours in painted.items()
    }
    for row in rows:
        assert row["label"] == (row["labels"][0] if row["labels"] else "unknown")
        assert set(row["top_labels"]) == set(LABELS)


def test_a_model_that_is_not_sure_says_unknown_and_no_label(prepared, tmp_path):
    workspace, painted = prepared("unsure"), colour_model.paint(tmp_path / "bucket")
    colour_model.publish(workspace, DecisionRule(LABELS, thresholds={"abstain_below": 0.9}))
    for row in scored(workspace, tmp_path / "bucket"):
        colours = painted[row["uri"]]
        sure = len(colours) == 1
        assert row["label"] == (colours[0] if sure else "unknown")
        assert row["labels"] == (list(colours) if sure else [])
        assert row["confidence"] == row["top_scores"][0]
