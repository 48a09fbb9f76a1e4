"""Vacuum deletes what nothing needs, and nothing else."""

import os
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest

from linnaeus import Workspace, layout, manifests, runs
from linnaeus.errors import ConfigurationError
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.jobs.frozen_runs import freeze_run
from linnaeus.labels import LabelsTable
from linnaeus.maintenance import Retention, vacuum
from linnaeus.maintenance.compaction import compact, write_merged
from linnaeus.planning import EmbedJob, ScoreJob, plans
from linnaeus.progress import SILENT
from linnaeus.records import EMBEDDINGS, OBJECTS
from linnaeus.status import overview
from linnaeus.storage import Folder
from linnaeus.tables import EmbeddingTable, Table
from linnaeus.worker import shards
from tests.buckets import TestWorker, fill
from tests.pixel_engine import SPEC

EMBED = EmbedJob(SPEC.fingerprint)
SCORE = ScoreJob(SPEC.fingerprint, "m", 1, "embedding")
NOW, WEEK = timedelta(0), timedelta(days=7)
REPLACED_GO = Retention(removed=NOW)
ALL_GO = Retention(removed=NOW, unfinished=NOW)
EIGHT_DAYS_SECONDS = 8 * 86_400
PICTURES = 8


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    limits = plans.ShardLimits(3)
    monkeypatch.setattr(plans.ShardLimits, "for_run", lambda objects: limits)


@pytest.fixture
def bucket(tmp_path):
    return fill(tmp_path / "bucket", PICTURES)


def begin(workspace, bucket, job=EMBED):
    manifest = manifests.freeze(workspace, str(bucket))
    return runs.create_run(workspace, job, runs.make_plan(workspace, job, manifest))


def carry_out(workspace, run):
    InThisProcess(lambda spec: TestWorker(workspace, spec)).execute(run)


def run(workspace, bucket, job=EMBED):
    manifest = manifests.freeze(workspace, str(bucket))
    executor = InThisProcess(lambda spec: TestWorker(workspace, spec))
    return run_job(workspace, job, manifest, executor, SILENT)


def embeddings(workspace):
    return Table(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS)


def objects(workspace):
    return Table(workspace, layout.OBJECTS, OBJECTS)


def digests(workspace):
    return sorted(embeddings(workspace).scan(["sha256"]).read_all()["sha256"].to_pylist())


def parts_of(workspace, run_id):
    tables = (embeddings(workspace), objects(workspace))
    return [entry.key for t in tables for entry in workspace.list(f"{t.key}/{run_id}")]


def age(workspace: Folder, *prefixes: str) -> None:
    """Let everything below the prefixes have been written eight days ago."""
    then = time.time() - EIGHT_DAYS_SECONDS
    for prefix in prefixes:
        for entry in workspace.list(prefix):
            os.utime(workspace.uri_of(entry.key), (then, then))


def age_parts(workspace: Folder, run_id: str) -> None:
    age(workspace, *(f"{t.key}/{run_id}" for t in (embeddings(workspace), objects(workspace))))


def test_a_workspace_without_leftovers_keeps_every_file(workspace, bucket):
    run(workspace, bucket)
    before = {entry.key for entry in workspace.list()}
    done = vacuum(workspace)
    assert (done.tables, done.runs.files, done.given_up) == ({}, 0, [])
    assert {entry.key for entry in workspace.list()} == before


def test_replaced_parts_stay_for_the_retention_and_then_go(workspace, bucket):
    summary = run(workspace, bucket)
    before = digests(workspace)
    compact(embeddings(workspace))
    old = [key for key in parts_of(workspace, summary.run_id) if key.startswith("embeddings")]
    assert vacuum(workspace).tables == {}
    done = vacuum(workspace, REPLACED_GO)
    assert done.tables[embeddings(workspace).key].files == len(old)
    assert not any(workspace.head(key) for key in old)
    assert digests(workspace) == before


def test_replaced_parts_are_found_when_the_log_has_forgotten_them(workspace, bucket):
    """Checkpoints leave out removals older than a week, and Delta's own vacuum misses the files."""
    summary = run(workspace, bucket)
    with mock.patch("linnaeus.tables.table.time.time", lambda: 1.0):  # the log says: 1970
        compact(embeddings(workspace))
    embeddings(workspace).load().create_checkpoint()
    assert vacuum(workspace).tables == {}
    age_parts(workspace, summary.run_id)
    assert vacuum(workspace).tables[embeddings(workspace).key].files == 3
    assert len(digests(workspace)) == PICTURES


def test_a_dry_run_tells_and_deletes_nothing(workspace, bucket):
    run(workspace, bucket)
    begun = begin(workspace, fill(bucket, 3, first=50))
    carry_out(workspace, begun)
    compact(embeddings(workspace))
    before = {entry.key for entry in workspace.list()}
    told = vacuum(workspace, ALL_GO, dry_run=True)
    assert {entry.key for entry in workspace.list()} == before
    done = vacuum(workspace, ALL_GO)
    assert replace(told, dry_run=False) == done
    assert done.given_up == [begun.run_id]


def test_parts_of_a_run_that_can_be_joined_stay(workspace, bucket):
    begun = begin(workspace, bucket)
    shards.do_shard(TestWorker(workspace, begun), 0)
    age_parts(workspace, begun.run_id)
    age(workspace, f"{layout.RUNS}/{begun.run_id}/attempts")
    written = parts_of(workspace, begun.run_id)
    assert vacuum(workspace, REPLACED_GO).given_up == []
    assert written == parts_of(workspace, begun.run_id)
    assert run(workspace, bucket).run_id == begun.run_id


def test_a_run_whose_workers_are_alive_is_not_given_up_however_old_its_plan(workspace, bucket):
    begun = begin(workspace, bucket)
    shards.do_shard(TestWorker(workspace, begun), 0)
    age(workspace, f"{layout.RUNS}/{begun.run_id}")
    assert vacuum(workspace).given_up == []
    assert run(workspace, bucket).run_id == begun.run_id


def test_a_run_without_a_sign_of_life_is_given_up_and_its_work_is_planned_anew(workspace, bucket):
    begun = begin(workspace, bucket)
    shards.do_shard(TestWorker(workspace, begun), 0)
    age_parts(workspace, begun.run_id)
    age(workspace, f"{layout.RUNS}/{begun.run_id}")
    done = vacuum(workspace)
    assert done.given_up == [begun.run_id]
    assert parts_of(workspace, begun.run_id) == []
    assert workspace.head(layout.plan(begun.run_id)) is None
    [described] = overview(workspace)["runs"]
    assert described["state"] == "given up"
    summary = run(workspace, bucket)
    assert summary.run_id != begun.run_id
    assert summary.counts.done == PICTURES


def test_a_run_that_nobody_claimed_goes(workspace, bucket):
    spec = runs.make_plan(workspace, EMBED, manifests.freeze(workspace, str(bucket)))
    workspace.write_new_file(layout.plan(spec.spec.run_id), spec.draft.path)
    age(workspace, layout.RUNS)
    assert vacuum(workspace).given_up == [spec.spec.run_id]
    assert run(workspace, bucket).counts.done == PICTURES


def test_a_given_up_run_is_not_committed(workspace, bucket):
    begun = begin(workspace, bucket)
    carry_out(workspace, begun)
    vacuum(workspace, ALL_GO)
    with pytest.raises(ConfigurationError, match="no sign of life"):
        runs.commit(workspace, begun.run_id)


@pytest.mark.parametrize("table", range(4))
def test_a_commit_that_is_given_up_half_way_leaves_tables_readable(workspace, bucket, table):
    """A process that slept for a week in the middle of its commit wakes up."""
    begun = begin(workspace, bucket)
    carry_out(workspace, begun)
    real = runs.tables_of

    def sleepy(workspace, run):
        for number, one in enumerate(real(workspace, run)):
            if number == table:
                vacuum(workspace, ALL_GO)
            yield one
        if table == 3:
            vacuum(workspace, ALL_GO)

    with (
        mock.patch.object(sys.modules["linnaeus.runs.commit"], "tables_of", sleepy),
        pytest.raises(ConfigurationError, match="given up"),
    ):
        runs.commit(workspace, begun.run_id)
    assert len(digests(workspace)) in {0, PICTURES}
    assert len(objects(workspace).scan().read_all()) == (PICTURES if table == 3 else 0)
    assert run(workspace, bucket).counts.skipped == (PICTURES if table == 3 else 0)
    assert set(digests(workspace)) == set(
        objects(workspace).scan(["sha256"]).read_all()["sha256"].to_pylist()
    )


def test_what_lost_attempts_wrote_goes_and_what_counts_stays(workspace, bucket):
    begun = begin(workspace, bucket)
    lost = shards.begin(TestWorker(workspace, begun), 0)
    shards.write_parts(lost, shards.work(lost))
    carry_out(workspace, begun)
    runs.commit(workspace, begun.run_id)
    before = digests(workspace)
    assert vacuum(workspace).tables == {}
    age_parts(workspace, begun.run_id)
    age(workspace, f"{layout.RUNS}/{begun.run_id}/attempts")
    done = vacuum(workspace)
    assert {table: swept.files for table, swept in done.tables.items()} == {
        embeddings(workspace).key: 1
    }
    assert done.runs.files == 4  # a marker for each of three shards, and for the lost attempt
    assert digests(workspace) == before


def test_merged_parts_that_were_never_committed_go_when_they_are_old(workspace, bucket):
    run(workspace, bucket)
    table = embeddings(workspace)
    lost = write_merged(table, table.parts(table.load()))
    assert vacuum(workspace).tables == {}
    age(workspace, f"{table.key}/{layout.COMPACTED}")
    assert vacuum(workspace).tables[table.key].files == 1
    assert workspace.head(lost.key) is None
    assert len(digests(workspace)) == PICTURES


def test_labels_that_were_replaced_go_after_the_retention(workspace, bucket):
    run(workspace, bucket, SCORE)
    run(workspace, fill(bucket, 3, first=50), SCORE)
    labels = LabelsTable(workspace, "m").table
    before = labels.scan().read_all().sort_by("uri")
    assert labels.key not in vacuum(workspace).tables
    assert vacuum(workspace, REPLACED_GO).tables[labels.key].files == 1
    assert labels.scan().read_all().sort_by("uri") == before


@pytest.mark.slow
def test_a_plan_from_before_compaction_and_vacuum_finds_its_vectors(workspace, bucket):
    run(workspace, bucket)
    begun = begin(workspace, bucket, SCORE)
    fill(bucket, 3, first=50)
    run(workspace, bucket)
    compact(embeddings(workspace))
    vacuum(workspace, REPLACED_GO)
    named = plans.read_shard(workspace, begun.run_id, 0)[0].part
    assert named not in EmbeddingTable(workspace, SPEC.fingerprint).parts
    carry_out(workspace, begun)
    assert runs.commit(workspace, begun.run_id).done == PICTURES
    undisturbed = Folder(workspace.uri + "-undisturbed")
    run(undisturbed, bucket, SCORE)
    for row in labels_by_uri(undisturbed).items():
        assert row[0] not in labels_by_uri(workspace) or row in labels_by_uri(workspace).items()
    assert len(labels_by_uri(workspace)) == PICTURES


def labels_by_uri(workspace):
    rows = LabelsTable(workspace, "m").table.scan(["uri", "sha256", "label", "confidence"])
    return {row["uri"]: tuple(row.values()) for row in rows.read_all().to_pylist()}


def test_there_is_nothing_to_vacuum_or_compact_where_there_is_no_workspace(tmp_path):
    absent = Workspace(str(tmp_path / "absent"))
    for command in (absent.compact, absent.vacuum):
        with pytest.raises(ConfigurationError, match="no workspace"):
            command()
    assert not Path(absent.folder.uri).exists()


@pytest.mark.slow
def test_an_object_store_is_vacuumed(s3, bucket):
    workspace = Folder(s3.bucket() + "/workspace")
    run(workspace, bucket)
    begun = begin(workspace, fill(bucket, 3, first=50))
    carry_out(workspace, begun)
    before = digests(workspace)
    Workspace(workspace.uri).compact()
    assert vacuum(workspace).tables == {}
    assert vacuum(workspace).given_up == []
    done = vacuum(workspace, ALL_GO)
    assert done.given_up == [begun.run_id]
    assert done.tables[embeddings(workspace).key].files == 3 + 1
    assert digests(workspace) == before
    assert run(workspace, bucket).counts.done == 3


def test_old_names_of_ended_runs_go_and_those_of_runs_that_can_be_joined_stay(workspace, bucket):
    frozen = freeze_run(workspace, EMBED, manifests.freeze(workspace, str(bucket)), "night")
    age(workspace, layout.RUN_NAMES)
    assert vacuum(workspace).runs.files == 0
    carry_out(workspace, plans.read_spec(workspace, frozen.run_id))
    runs.commit(workspace, frozen.run_id)
    freeze_run(workspace, EMBED, manifests.freeze(workspace, str(bucket)), "next")
    assert vacuum(workspace).runs.files == 1
    assert [entry.key for entry in workspace.list(layout.RUN_NAMES)] == ["runs/.names/next"]


def test_the_name_of_a_run_that_is_given_up_goes_with_it(workspace, bucket):
    first = freeze_run(workspace, EMBED, manifests.freeze(workspace, str(bucket)), "night")
    age(workspace, layout.RUNS)
    assert vacuum(workspace, dry_run=True).given_up == [first.run_id]
    assert vacuum(workspace).given_up == [first.run_id]
    again = freeze_run(workspace, EMBED, manifests.freeze(workspace, str(bucket)), "night")
    assert again.run_id not in (None, first.run_id)


def test_what_killed_writes_left_on_a_local_disk_goes_after_a_week(workspace, bucket):
    run(workspace, bucket)
    root, then = Path(workspace.uri), time.time() - EIGHT_DAYS_SECONDS
    left = [root / "models/m/.staging-2-0a" / name for name in ("saved_model.pb", "a/variables")]
    left.append(root / "models/m/.withdrawn-1-0a" / "saved_model.pb")
    left += [root / "objects" / "01X" / ".0011223344556677.partial", root / ".00ff.partial"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12")
    assert vacuum(workspace).runs.files == 0
    for path in left:
        os.utime(path, (then, then))
    done = vacuum(workspace, dry_run=True).runs
    assert (done.files, done.size_bytes) == (5, 10)
    assert vacuum(workspace).runs == done
    assert not any(path.exists() for path in left)
    assert vacuum(workspace).runs.files == 0
