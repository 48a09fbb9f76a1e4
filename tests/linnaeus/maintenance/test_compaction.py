"""Merging parts changes no row, whoever else is at the table."""

import concurrent.futures
import multiprocessing
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from linnaeus import layout
from linnaeus.errors import StorageError
from linnaeus.maintenance import compaction
from linnaeus.maintenance.compaction import Merge, compact, write_merged
from linnaeus.maintenance.compaction_policy import ON_DEMAND, Policy
from linnaeus.records import OBJECTS
from linnaeus.storage import Folder, leased
from linnaeus.tables import EmbeddingTable, PartsGone, Table, parts
from tests.linnaeus.stored_rows import (
    FINGERPRINT,
    add_run,
    rows_for,
    rows_of,
    table_in,
    vector_of,
    write_part,
)

RUNS, PARTS, ROWS = 5, 3, 4


def contents(run: int, part: int) -> list[str]:
    return [f"{run}-{part}-{row}" for row in range(ROWS)]


def everything(runs: int = RUNS) -> list[str]:
    return [c for run in range(runs) for part in range(PARTS) for c in contents(run, part)]


@pytest.fixture
def table(workspace: Folder) -> Table:
    """Five runs of three parts each."""
    table = table_in(workspace)
    for run in range(RUNS):
        add_run(table, f"run{run}", *(contents(run, part) for part in range(PARTS)))
    return table


def live(table: Table):
    snapshot = table.load()
    assert snapshot is not None
    return table.parts(snapshot)


def test_many_parts_become_one_with_the_same_rows(table):
    done = compact(table)
    assert done is not None
    assert (done.parts_before, done.parts_after, done.rows) == (RUNS * PARTS, 1, len(everything()))
    assert rows_of(table) == rows_for(everything())


def test_a_second_compaction_has_nothing_to_do(table):
    compact(table)
    version = table.load().version()
    done = compact(table)
    assert done is not None
    assert (done.parts_before, done.parts_after, done.rewritten_bytes) == (1, 1, 0)
    assert table.load().version() == version


def test_a_table_that_does_not_exist_is_none(workspace):
    assert compact(table_in(workspace)) is None


def test_runs_are_still_known_as_committed(table):
    again = [part for part in live(table) if "/run0/" in part.key]
    compact(table)
    table.append(again, "run0")
    assert rows_of(table) == rows_for(everything())


def test_repeated_contents_are_kept_once(table):
    add_run(table, "again", contents(0, 0), contents(3, 1))
    done = compact(table)
    assert done is not None
    assert (done.repeats_dropped, done.rows) == (2 * ROWS, len(everything()))
    assert rows_of(table) == rows_for(everything())


def test_rows_of_other_tables_may_repeat(workspace):
    table = Table(workspace, layout.OBJECTS, OBJECTS)
    row = dict.fromkeys(OBJECTS.names) | {"uri": "a", "sha256": "same"}
    for run in ("run1", "run2"):
        rows = pa.Table.from_pylist([row], schema=OBJECTS)
        part = parts.write(workspace, f"{layout.OBJECTS}/{run}/0.parquet", rows)
        assert part is not None
        table.append([part], run)
    done = compact(table)
    assert done is not None
    assert (done.parts_after, done.rows, done.repeats_dropped) == (1, 2, 0)


def test_older_runs_come_first(table):
    compact(table)
    rows = table.scan(["sha256"]).read_all()["sha256"].to_pylist()
    assert rows == everything()


def test_a_merged_part_says_in_which_row_groups_its_vectors_lie(workspace, monkeypatch):
    monkeypatch.setattr(compaction, "STORED_SHARD_OBJECTS", 5)
    table = table_in(workspace)
    names = [f"{i:02d}" for i in range(23)]
    add_run(table, "run", names[:4], names[4:15], names[15:])
    compact(table)
    [part] = live(table)
    groups = pq.ParquetFile(workspace.open(part.key)).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [5, 5, 5, 5, 3]

    stored = EmbeddingTable(workspace, FINGERPRINT)
    [path] = stored.parts
    rows = [22, 0, 7, 7, 5]
    expected = np.stack([vector_of(names[row]) for row in rows])
    assert (stored.vectors(path, rows) == expected).all()
    assert (stored.vectors(path) == np.stack([vector_of(name) for name in names])).all()


def test_with_a_budget_the_rest_is_left_for_the_next_time(table):
    small = Policy(part_rows=2 * PARTS * ROWS, fan_in=2, tiered=False)
    done = compact(table, small, budget_bytes=1)
    assert done is not None
    assert 1 < done.parts_after < RUNS * PARTS
    assert rows_of(table) == rows_for(everything())


def test_a_table_that_another_process_compacts_is_left_alone(table):
    with leased(table.workspace, f"compaction/{table.key}"):
        done = compact(table)
    assert done is not None
    assert done.busy
    assert done.parts_after == RUNS * PARTS


def test_a_compaction_that_lost_its_lease_commits_nothing(table, monkeypatch):
    real = compaction.write_merged

    def slow(table, group):
        with leased(table.workspace, f"compaction/{table.key}", timedelta(0)):
            return real(table, group)

    monkeypatch.setattr(compaction, "write_merged", slow)
    version = table.load().version()
    done = compact(table)
    assert done is not None
    assert done.parts_after == RUNS * PARTS
    assert table.load().version() == version


def test_a_compaction_that_dies_before_its_commit_changes_nothing(table, monkeypatch):
    def dying(table, merge):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "commit", dying)
        with pytest.raises(KeyboardInterrupt):
            compact(table)
    assert len(live(table)) == RUNS * PARTS
    assert rows_of(table) == rows_for(everything())
    compact(table)
    assert rows_of(table) == rows_for(everything())


def test_of_two_merges_of_the_same_parts_one_counts(table):
    """Delta itself would accept both, and double the rows."""
    group = live(table)
    first, second = (Merge(group, write_merged(table, group)) for _ in range(2))
    assert compaction.commit(table, first)
    assert compaction.commit(table, first)
    assert not compaction.commit(table, second)
    assert rows_of(table) == rows_for(everything())


def test_a_merge_whose_parts_are_partly_gone_is_refused(table):
    group = live(table)
    merge = Merge(group[:4], write_merged(table, group[:4]))
    late = Merge(group[2:8], write_merged(table, group[2:8]))
    table.merge(merge.group, merge.merged)
    with pytest.raises(PartsGone, match="another process"):
        table.merge(late.group, late.merged)
    assert rows_of(table) == rows_for(everything())


def test_a_run_that_commits_meanwhile_is_kept(table):
    group = live(table)
    merge = Merge(group, write_merged(table, group))
    add_run(table, "meanwhile", ["new"])
    assert compaction.commit(table, merge)
    assert rows_of(table) == rows_for([*everything(), "new"])


def test_a_part_with_other_rows_than_the_log_says_is_not_merged(table):
    table.workspace.delete(f"{table.key}/run0/0.parquet")
    write_part(table, "run0", ["too", "few"])
    with pytest.raises(StorageError, match="2 rows, and the table's log says 4"):
        compact(table)


def compact_at_once(uri: str, merge_at_once: object, rounds: int) -> None:
    """What a process of its own does, without a lease: leases are not what keeps rows safe."""
    table = table_in(Folder(uri))
    for _ in range(rounds):
        merge_at_once.wait(120)  # type: ignore[attr-defined]
        snapshot = table.load()
        assert snapshot is not None
        if len(group := table.parts(snapshot)) > 1:
            compaction.commit(table, Merge(group, write_merged(table, group)))


def in_processes(count: int, uri: str, rounds: int, job) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count + 1)
    workers = [
        context.Process(target=compact_at_once, args=(uri, barrier, rounds)) for _ in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        for number in range(rounds):
            barrier.wait(120)
            job(number)
        for worker in workers:
            worker.join(120)
        assert [worker.exitcode for worker in workers] == [0] * count
    finally:
        for worker in workers:
            worker.kill()


@pytest.mark.slow
@pytest.mark.parametrize("store", ["local", "s3"])
def test_four_compactions_at_once_beside_runs_that_commit_lose_and_double_nothing(
    store, request, tmp_path
):
    uri = f"{request.getfixturevalue('s3').bucket()}/w" if store == "s3" else str(tmp_path / "w")
    table = table_in(Folder(uri))
    rounds = 6
    add_run(table, "base", ["base"])
    committed = ["base"]

    def job(number: int) -> None:
        for half in range(2):
            names = [f"{number}-{half}-{row}" for row in range(ROWS)]
            add_run(table, f"run{number}-{half}", names[:2], names[2:])
            committed.extend(names)
            assert set(rows_for(committed)) <= set(rows_of(table))

    in_processes(4, uri, rounds, job)
    assert rows_of(table) == rows_for(committed)
    compact(table, ON_DEMAND)
    assert rows_of(table) == rows_for(committed)


@pytest.mark.slow
def test_compactions_by_threads_under_the_lease(table):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: compact(table), range(4)))
    assert all(one is not None for one in done)
    assert rows_of(table) == rows_for(everything())
    assert len(live(table)) == 1


@pytest.mark.slow
def test_tables_in_an_object_store_are_compacted(s3):
    table = table_in(Folder(s3.bucket() + "/workspace"))
    for run in range(RUNS):
        add_run(table, f"run{run}", *(contents(run, part) for part in range(PARTS)))
    done = compact(table)
    assert done is not None
    assert done.parts_after == 1
    assert rows_of(table) == rows_for(everything())
