"""What a commit needs is on the disk before anything says that it is made; a torn log is told."""

import os
import shutil
from pathlib import Path

import pytest

from linnaeus import layout
from linnaeus.errors import DamagedFile
from linnaeus.status import overview
from linnaeus.storage import Folder
from linnaeus.tables import table as table_module
from linnaeus.tables import tables_in
from tests.buckets import fill
from tests.disk import Disk
from tests.linnaeus.runs.test_opening import EMBED, SCORE, run
from tests.linnaeus.stored_rows import add_run, rows_for, rows_of, table_in
from tests.pixel_engine import SPEC

TABLES = ("objects", "embeddings", "predictions", "labels", "manifests")


@pytest.mark.slow
def test_all_of_a_commit_is_on_the_disk_before_the_summary_says_so(tmp_path, monkeypatch):
    root = tmp_path / "made" / "by it" / "workspace"
    workspace, disk, lost, seen = Folder(str(root)), Disk(monkeypatch), [], []
    link = Path.hardlink_to

    def look(path: Path, target: Path) -> None:
        if path.name == "summary.json":
            made = [one for name in TABLES for one in ((root / name), *(root / name).rglob("*"))]
            seen.extend(made)
            lost.extend(one for one in (*made, *root.parents[:2], tmp_path) if disk.lacks(one))
        link(path, target)

    monkeypatch.setattr(Path, "hardlink_to", look)
    monkeypatch.setattr(table_module, "CHECKPOINT_COMMITS", 3)
    bucket = fill(tmp_path / "bucket", 3)
    for more in range(4):
        fill(bucket, 1, first=3 + more)
        run(workspace, bucket, SCORE)
    assert {"_delta_log", "_last_checkpoint"} <= {path.name for path in seen}
    assert any(path.parent.name == "m" and path.suffix == ".parquet" for path in seen)
    assert lost == []


def test_what_another_process_committed_and_left_is_made_durable_too(workspace, monkeypatch):
    table = table_in(workspace)
    part = add_run(table, "first", ["a"])[0]
    disk = Disk(monkeypatch)
    table.append([part], "first")
    log = Path(table.uri, "_delta_log")
    assert [path.name for path in (log, *log.iterdir()) if disk.lacks(path)] == []


@pytest.mark.parametrize("cut", [0, 60])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_log_that_is_cut_short_is_told_and_its_remedy_brings_all_back(workspace, cut, number):
    """delta-rs reads an empty entry as one that does nothing, and a reader misses its rows."""
    table = table_in(workspace)
    for run_id in ("1", "2", "3"):
        add_run(table, run_id, [run_id])
    log = Path(table.uri, "_delta_log")
    entry = log / f"{number:020d}.json"
    os.truncate(entry, cut)
    for read in (table.load, lambda: overview(workspace)):
        with pytest.raises(DamagedFile, match=f"{entry} was cut short.*: delete it, what") as told:
            read()
        assert "\n" not in str(told.value)
    for path in log.iterdir():
        if path.name >= entry.name:
            path.unlink()
    assert rows_of(table) == rows_for([str(n) for n in range(1, number)])
    for again in range(number, 4):
        shutil.rmtree(Path(table.uri, str(again)))
        add_run(table, str(again), [str(again)])
    assert rows_of(table) == rows_for(["1", "2", "3"])


@pytest.mark.parametrize("cut", [0, 500])
def test_a_checkpoint_that_is_cut_short_is_told_and_its_remedy_brings_all_back(workspace, cut):
    table, numbers = (
        table_in(workspace),
        [str(n) for n in range(table_module.CHECKPOINT_COMMITS + 2)],
    )
    for number in numbers:
        add_run(table, number, [number])
    log = Path(table.uri, "_delta_log")
    [checkpoint] = log.glob("*.checkpoint.parquet")
    os.truncate(checkpoint, cut)
    with pytest.raises(DamagedFile, match=f"{checkpoint} was cut .*: delete it, and _last"):
        table.load()
    checkpoint.unlink()
    (log / "_last_checkpoint").unlink()
    assert rows_of(table) == rows_for(numbers)


@pytest.mark.parametrize(
    ("job", "key"),
    [
        (EMBED, layout.OBJECTS),
        (EMBED, layout.embeddings(SPEC.fingerprint)),
        (SCORE, layout.predictions("m")),
        (SCORE, layout.labels("m")),
    ],
)
def test_a_run_whose_commit_was_lost_with_a_log_is_done_again(workspace, tmp_path, job, key):
    bucket = fill(tmp_path / "bucket", 4)
    run(workspace, bucket, job)
    [table] = [one for one in tables_in(workspace) if one.key == key]
    before = table.scan().read_all().num_rows
    entry = Path(table.uri, "_delta_log", f"{1:020d}.json")
    os.truncate(entry, 0)
    with pytest.raises(DamagedFile, match="whatever needs what they held does it again"):
        run(workspace, bucket, job)
    entry.unlink()
    run(workspace, bucket, job)
    assert table.scan().read_all().num_rows == before == 4
