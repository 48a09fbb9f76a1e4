from pathlib import Path

import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.models import Model, ModelBackbone
from linnaeus.training.drop_in import outputs as drop_in_outputs


def test_only_event_files_of_an_earlier_run_are_deleted(tmp_path: Path):
    kept = [tmp_path / "notes.txt", tmp_path / "train" / "mine.csv"]
    events = [tmp_path / "train" / "events.out.tfevents.1.host", tmp_path / "events.out.tfevents.2"]
    for path in (*kept, *events):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    drop_in_outputs.clear_summaries(str(tmp_path))
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    drop_in_outputs.clear_summaries(str(tmp_path / "absent"))


def test_a_folder_with_files_is_refused(tmp_path: Path):
    drop_in_outputs.refuse_filled(str(tmp_path))
    drop_in_outputs.refuse_filled(str(tmp_path / "absent"))
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="has files in it already"):
        drop_in_outputs.refuse_filled(str(tmp_path))


def test_labels_are_a_line_each_in_a_folder_that_is_made(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "labels.txt"
    drop_in_outputs.write_labels(("Größe", "x, Y", "日本"), str(path))
    assert path.read_text("utf-8") == "Größe\nx, Y\n日本\n"


def test_the_accuracy_line_is_the_originals():
    backbone = ModelBackbone("pixels", "f", 1, 1, 3)
    metrics = {"test": {"accuracy": 0.91172, "images": 367}}
    model = Model("retrained", 1, ("a", "b"), backbone, metrics=metrics)
    assert drop_in_outputs.accuracy_line(model) == "Final test accuracy = 91.2% (N=367)"
