import json
from dataclasses import replace

import pytest

from linnaeus import manifests
from linnaeus.errors import ConfigurationError, DamagedFile
from linnaeus.jobs import run_job
from linnaeus.labels import LabelFiles, LabelsTable
from linnaeus.progress import SILENT
from linnaeus.storage import Folder
from tests.buckets import fill
from tests.linnaeus.runs.test_opening import SCORE, in_this_process

OURS = ["part-00000-of-00002.csv", "part-00001-of-00002.csv"]
SOMEBODYS = ["part-time/photo.jpg", "part-00000-5f2e.snappy.parquet", "part-list.csv"]


@pytest.fixture
def labels(workspace: Folder, tmp_path):
    manifest = manifests.freeze(workspace, str(fill(tmp_path / "bucket", 4)))
    run_job(workspace, SCORE, manifest, in_this_process(workspace), SILENT)
    return LabelsTable(workspace, "m"), manifest.source


def test_only_label_files_of_earlier_runs_are_taken_away(labels, tmp_path):
    folder = Folder(str(tmp_path / "output"))
    for key in SOMEBODYS:
        folder.write(key, b"kept")
    LabelFiles(folder, "csv", rows_per_file=2).write(*labels, {})
    assert folder.read("_SUCCESS.json").endswith(b"}\n")
    assert {entry.key for entry in folder.list()} == {*OURS, *SOMEBODYS, "_SUCCESS.json"}
    LabelFiles(folder, "jsonl").write(*labels, {})
    written = {entry.key for entry in folder.list()}
    assert written == {"part-00000-of-00001.jsonl", *SOMEBODYS, "_SUCCESS.json"}


def score(workspace, bucket, job):
    manifest = manifests.freeze(workspace, str(bucket))
    run_job(workspace, job, manifest, in_this_process(workspace), SILENT)
    return LabelsTable(workspace, job.model), manifest.source


def marker(folder):
    return json.loads(folder.read("_SUCCESS.json"))


def test_labels_of_another_model_or_workspace_replace_those_that_are_there(labels, tmp_path):
    """The first scoring of any model is version 1 of its table."""
    folder, bucket = Folder(str(tmp_path / "output")), tmp_path / "bucket"
    files = LabelFiles(folder, "csv")
    files.write(*labels, {"model": "m"})
    seen = [marker(folder)]
    others = [(Folder(str(tmp_path / "anew")), "m"), (labels[0].workspace, "other")]
    for workspace, name in others:
        found = score(workspace, bucket, replace(SCORE, model=name))
        files.write(*found, {"model": name})
        seen.append(marker(folder))
    assert [one["labels"] for one in seen] == [1, 1, 1]
    assert len({one["table"] for one in seen}) == 3


def test_labels_of_a_number_that_was_given_again_replace_those_that_are_there(labels, tmp_path):
    files = LabelFiles(Folder(str(tmp_path / "output")), "csv")
    files.write(*labels, {"model": "m", "model_version": 1, "trained_by": "first"})
    files.write(*labels, {"model": "m", "model_version": 1, "trained_by": "second"})
    assert marker(files.folder)["trained_by"] == "second"


@pytest.mark.parametrize("harm", ["deleted", "cut"])
def test_parts_that_are_gone_or_cut_are_written_again_and_whole_ones_are_not(
    labels, tmp_path, harm
):
    files = LabelFiles(Folder(str(tmp_path / "output")), "csv", rows_per_file=2)
    files.write(*labels, {})
    first, second = (tmp_path / "output" / name for name in OURS)
    kept = second.read_bytes()
    if harm == "deleted":
        second.unlink()
    else:
        second.write_bytes(kept[:10])
    files.write(*labels, {})
    assert second.read_bytes() == kept
    written = first.stat().st_mtime_ns
    files.write(*labels, {})
    assert first.stat().st_mtime_ns == written


def test_a_folder_with_parts_of_a_stranger_is_refused_and_left_as_it_is(labels, tmp_path):
    folder = Folder(str(tmp_path / "output"))
    folder.write("part-00000-of-00010.csv", b"kept")
    with pytest.raises(ConfigurationError, match=r"part-00000-of-00010.csv is of no .*move it"):
        LabelFiles(folder, "csv").write(*labels, {})
    assert [(one.key, one.size) for one in folder.list()] == [("part-00000-of-00010.csv", 4)]


def test_whoever_was_killed_while_writing_leaves_nothing_foreign(labels, tmp_path, monkeypatch):
    files = LabelFiles(Folder(str(tmp_path / "output")), "csv", rows_per_file=2)
    files.write(*labels, {})
    whole = Folder.write

    def killed(folder, key, data):
        if key == "part-00001-of-00004.jsonl":
            raise KeyboardInterrupt
        whole(folder, key, data)

    monkeypatch.setattr(Folder, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        LabelFiles(files.folder, "jsonl", rows_per_file=1).write(*labels, {})
    monkeypatch.undo()
    assert files.folder.head("_SUCCESS.json") is None
    LabelFiles(files.folder, "jsonl").write(*labels, {})
    names = {entry.key for entry in files.folder.list()}
    assert names == {"part-00000-of-00001.jsonl", "_SUCCESS.json"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', '{"files": '])
def test_a_marker_that_is_not_ours_is_left_and_told(labels, tmp_path, text):
    folder = Folder(str(tmp_path / "output"))
    folder.write("_SUCCESS.json", text.encode())
    with pytest.raises(DamagedFile, match=r"_SUCCESS.json is damaged or not .*move it away"):
        LabelFiles(folder, "csv").write(*labels, {})
    assert folder.read("_SUCCESS.json") == text.encode()
