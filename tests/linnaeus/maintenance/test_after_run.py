"""After a run its tables are tidied where that is due, and the run never fails of it."""

import io
import sys

import pytest

from linnaeus import Workspace, layout
from linnaeus.errors import StorageError
from linnaeus.maintenance.compaction_policy import Policy
from linnaeus.progress import for_stream
from linnaeus.records import OBJECTS
from linnaeus.storage import leased
from linnaeus.tables import Table
from linnaeus.tables.table import CHECKPOINT_COMMITS
from tests.buckets import fill
from tests.linnaeus.maintenance.test_vacuum import begin, carry_out, embeddings, run
from tests.linnaeus.stored_rows import add_run, rows_for, rows_of, table_in


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    monkeypatch.setattr(
        sys.modules["linnaeus.maintenance.after_run"], "AFTER_A_RUN", Policy(fan_in=2)
    )


def parts(table: Table) -> int:
    snapshot = table.load()
    assert snapshot is not None
    return len(table.parts(snapshot))


def test_tables_are_compacted_after_a_run(workspace, tmp_path):
    bucket = fill(tmp_path / "bucket", 4)
    run(workspace, bucket)
    assert run(workspace, fill(bucket, 4, first=4)).counts.done == 4
    assert parts(embeddings(workspace)) == parts(Table(workspace, layout.OBJECTS, OBJECTS)) == 1
    assert run(workspace, bucket).run_id is None


def test_tables_are_compacted_after_a_commit_by_hand(workspace, tmp_path):
    bucket = fill(tmp_path / "bucket", 4)
    run(workspace, bucket)
    begun = begin(workspace, fill(bucket, 4, first=4))
    carry_out(workspace, begun)
    Workspace(workspace.uri).commit(begun.run_id)
    assert parts(embeddings(workspace)) == 1


def test_a_run_succeeds_though_its_tables_cannot_be_compacted(workspace, tmp_path, monkeypatch):
    def failing(*_):
        raise StorageError("the disk is full")

    bucket = fill(tmp_path / "bucket", 4)
    run(workspace, bucket)
    monkeypatch.setattr(sys.modules["linnaeus.maintenance.after_run"], "compact", failing)
    assert run(workspace, fill(bucket, 4, first=4)).counts.done == 4
    assert parts(embeddings(workspace)) == 2


def test_why_tables_are_not_compacted_is_told(workspace, tmp_path, monkeypatch):
    def failing(*_):
        raise StorageError("the disk is full")

    bucket, shown = fill(tmp_path / "bucket", 4), io.StringIO()
    run(workspace, bucket)
    begun = begin(workspace, fill(bucket, 4, first=4))
    carry_out(workspace, begun)
    monkeypatch.setattr(sys.modules["linnaeus.maintenance.after_run"], "compact", failing)
    Workspace(workspace.uri, for_stream(shown)).commit(begun.run_id)
    assert "not done (the disk is full); `linnaeus compact` does it" in shown.getvalue()


def test_a_run_does_not_wait_for_another_process_that_compacts(workspace, tmp_path):
    bucket = fill(tmp_path / "bucket", 4)
    run(workspace, bucket)
    with leased(workspace, f"compaction/{embeddings(workspace).key}"):
        assert run(workspace, fill(bucket, 4, first=4)).counts.done == 4
    assert parts(embeddings(workspace)) == 2


def test_the_log_is_summed_up_now_and_then(workspace):
    table = table_in(workspace)
    for number in range(3 * CHECKPOINT_COMMITS):
        add_run(table, f"run{number:02d}", [str(number)])
    log = [entry.key for entry in workspace.list(f"{table.key}/_delta_log")]
    assert sum(key.endswith(".checkpoint.parquet") for key in log) == 3
    assert rows_of(table) == rows_for(map(str, range(3 * CHECKPOINT_COMMITS)))


def test_on_demand_every_table_is_compacted_and_its_log_summed_up(workspace):
    table = table_in(workspace)
    for number in range(3):
        add_run(table, f"run{number}", [str(number)])
    [done] = Workspace(workspace.uri).compact()
    assert (done.table, done.parts_before, done.parts_after) == (table.key, 3, 1)
    assert workspace.head(f"{table.key}/_delta_log/_last_checkpoint")
