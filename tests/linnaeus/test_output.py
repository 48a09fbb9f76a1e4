import pytest

from linnaeus import manifests
from linnaeus.jobs import run_job
from linnaeus.labels import LabelsTable
from linnaeus.output import LabelFiles
from linnaeus.progress import SILENT
from linnaeus.storage import Folder
from tests.buckets import fill
from tests.linnaeus.test_runs import SCORE, in_this_process

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
