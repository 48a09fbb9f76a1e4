from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pytest

from linnaeus.cli.demo import Report, _reconciled, _sample_rows, _would_repeat, demo, report_text
from linnaeus.cli.session import Session
from linnaeus.errors import ReconciliationError
from linnaeus.manifests import Manifest
from linnaeus.models import Model, ModelBackbone
from linnaeus.training.config import TrainConfig

REPORT = Report(
    dataset="digits",
    nothing_to_do=False,
    test={"accuracy": 0.969, "accuracy_interval": [0.948, 0.981], "images": 450},
    counts={"objects": 1797, "labelled": 1796, "failed": 1},
    rows=[
        {"uri": "/b/0.png", "label": "0", "confidence": 0.999},
        {"uri": "/b/1.png", "label": None, "confidence": None},
    ],
    places={"pictures": "bucket/digits"},
)


def labels_of(*statuses: str) -> pa.Table:
    uris = [f"/b/{row}.png" for row in range(len(statuses))]
    confidences = [row / 10 for row in range(len(statuses))]
    columns = {"uri": uris, "status": statuses, "label": uris, "confidence": confidences}
    return pa.table({name: list(values) for name, values in columns.items()})


def test_the_report_has_accuracy_counts_rows_and_places():
    text = report_text(REPORT)
    assert "0.969 (95 % interval 0.948 to 0.981) on 450 images" in text
    assert "1,797 objects = 1,796 labelled + 1 failed" in text
    assert "  0.png  0  0.999\n  1.png  failed\n" in text
    assert "bucket/digits" in text
    assert "Nothing to do" not in text


@pytest.mark.parametrize(("found", "hints"), [(None, 1), ("/usr/bin/linnaeus", 0)])
def test_the_last_hint_can_be_followed_where_the_environment_is_not_active(
    monkeypatch, found, hints
):
    monkeypatch.setattr("shutil.which", lambda name: found)
    assert report_text(REPORT).count(f"\n  source {sys.prefix}/bin/activate\n") == hints


def test_places_are_absolute_however_the_bucket_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bucket" / "digits").mkdir(parents=True)
    (tmp_path / "bucket" / "digits" / "manifest.csv").write_text("uri,label\n")
    named = []
    monkeypatch.setattr(
        "linnaeus.cli.demo.run_loop", lambda *arguments: named.extend(arguments[2:]) or REPORT
    )
    demo(Session("workspace"), "digits", Path("bucket"))
    assert named == [f"{tmp_path}/bucket/digits/manifest.csv", f"{tmp_path}/bucket/digits-labels"]


def test_a_second_time_the_report_begins_with_nothing_to_do():
    assert report_text(replace(REPORT, nothing_to_do=True)).startswith("Nothing to do")


def test_counts_that_do_not_add_up_are_an_error():
    labels = labels_of("labelled", "labelled", "failed")
    assert _reconciled(labels, Manifest("m", "/b", 1, 3)) == {
        "objects": 3,
        "labelled": 2,
        "failed": 1,
    }
    with pytest.raises(ReconciliationError, match="4 objects"):
        _reconciled(labels, Manifest("m", "/b", 1, 4))


@pytest.mark.parametrize(("rows", "shown"), [(1, [0]), (2, [0, 1]), (9, [0, 4, 8])])
def test_the_sample_spans_the_table(rows: int, shown: list[int]):
    sample = _sample_rows(labels_of(*["labelled"] * rows))
    assert [row["uri"] for row in sample] == [f"/b/{row}.png" for row in shown]


def test_a_model_of_other_images_or_hyperparameters_is_trained_anew():
    config, manifest = TrainConfig(backbone="pixels"), Manifest("m-1", "/b", 1, 4)
    backbone = ModelBackbone("pixels", "f00d", 8, 8, 192)
    kept = {**asdict(config), "chosen": {"head": "linear"}}
    model = Model("d", 1, ("0", "1"), backbone, hyperparameters=kept, data={"manifest_id": "m-1"})
    stored = Model.from_json(model.to_json(), "")
    assert _would_repeat(stored, manifest, config)
    assert not _would_repeat(stored, manifest, replace(config, seed=1))
    assert not _would_repeat(stored, replace(manifest, id="m-2"), config)
