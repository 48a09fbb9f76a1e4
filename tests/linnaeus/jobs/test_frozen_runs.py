import json
import threading

import pytest

from linnaeus import layout, manifests
from linnaeus.errors import ConfigurationError, GateFailed, ReconciliationError
from linnaeus.jobs import InThisProcess, commit_plan, run_job, slices
from linnaeus.jobs.frozen_runs import freeze_run, load
from linnaeus.labels import LabelsTable
from linnaeus.planning import EmbedJob, ScoreJob, plans
from linnaeus.progress import SILENT
from linnaeus.records import EMBEDDINGS, OBJECTS
from linnaeus.runs import give_up
from linnaeus.storage import Folder
from linnaeus.tables import Table
from linnaeus.worker.shards import begin
from tests.buckets import TestWorker, fill
from tests.pixel_engine import SPEC

EMBED = EmbedJob(SPEC.fingerprint)
SCORE = ScoreJob(SPEC.fingerprint, "m", 1, "embedding")


@pytest.fixture
def bucket(tmp_path):
    return fill(tmp_path / "bucket", 20)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    limits = plans.ShardLimits(3)
    monkeypatch.setattr(plans.ShardLimits, "for_run", lambda objects: limits)


def freeze(workspace, bucket, name="night", job=EMBED):
    return freeze_run(workspace, job, manifests.freeze(workspace, str(bucket)), name)


def do(workspace, plan, text, open_worker=None):
    opened = open_worker or (lambda run: TestWorker(workspace, run))
    return slices.do_slice(workspace, load(workspace, plan), slices.parse(text), opened)


def commit(workspace, plan):
    return commit_plan(workspace, load(workspace, plan))


def rows(workspace, key, schema):
    """A table's rows without what every run has of its own, and vectors."""
    table = Table(workspace, key, schema).scan().read_all()
    return sorted(json.dumps({**row, "run_id": ""}) for row in table.to_pylist())


def embedded(workspace):
    objects = rows(workspace, layout.OBJECTS, OBJECTS)
    return objects, rows(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS)


@pytest.fixture
def plain(tmp_path, bucket):
    """The rows that a plain run makes."""
    workspace = Folder(str(tmp_path / "plain"))
    executor = InThisProcess(lambda run: TestWorker(workspace, run))
    run_job(workspace, EMBED, manifests.freeze(workspace, str(bucket)), executor, SILENT)
    return embedded(workspace)


def test_a_name_gives_the_same_run_whatever_changes(workspace, bucket):
    first = freeze(workspace, bucket)
    fill(bucket, 5, first=20)
    assert freeze(workspace, bucket) == load(workspace, "night") == first
    assert (first.objects, first.shards, first.joined, first.job) == (20, 7, False, "embed")
    assert load(workspace, first.run_id).run_id == first.run_id


def test_slices_in_any_order_make_the_rows_of_a_plain_run(workspace, bucket, plain):
    freeze(workspace, bucket)
    done = [do(workspace, "night", f"{index}/4") for index in (3, 1, 4, 2)]
    assert sum(one.counts.done for one in done) == 20
    assert commit(workspace, "night").counts.done == 20
    assert embedded(workspace) == plain
    assert commit(workspace, "night").counts.done == 20  # again, too


def test_a_slice_that_is_done_again_or_by_two_at_once_counts_once(workspace, bucket, plain):
    freeze(workspace, bucket)
    twins = [threading.Thread(target=do, args=(workspace, "night", "1/2")) for _ in range(2)]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join()
    again = do(workspace, "night", "1/2", open_worker=pytest.fail)
    assert (again.shards, again.shards_done_before, again.counts.planned) == (4, 4, 0)
    do(workspace, "night", "2/2")
    commit(workspace, "night")
    assert embedded(workspace) == plain


def test_slices_of_other_counts_miss_shards_which_the_commit_names(workspace, bucket, plain):
    freeze(workspace, bucket)
    for text in ("1/3", "2/4", "9/16"):
        do(workspace, "night", text)
    with pytest.raises(ReconciliationError, match=r"2 of 7 shards are not done \(2, 4\)") as told:
        commit(workspace, "night")
    assert "linnaeus embed --plan night --slice 1/1" in str(told.value)
    assert not Table(workspace, layout.OBJECTS, OBJECTS).load()
    do(workspace, "night", "1/1")
    commit(workspace, "night")
    assert embedded(workspace) == plain


def test_a_shard_whose_worker_died_is_done_by_the_next_process(workspace, bucket, plain):
    frozen = freeze(workspace, bucket)
    run = plans.read_spec(workspace, frozen.run_id)
    begin(TestWorker(workspace, run), 0)  # a marker is all that is left of it
    do(workspace, "night", "1/1")
    commit(workspace, "night")
    assert embedded(workspace) == plain


def test_a_plain_run_joins_a_frozen_one_and_does_what_slices_left(workspace, bucket, plain):
    frozen = freeze(workspace, bucket)
    do(workspace, "night", "2/3")
    executor = InThisProcess(lambda run: TestWorker(workspace, run))
    manifest = manifests.freeze(workspace, str(bucket))
    assert run_job(workspace, EMBED, manifest, executor, SILENT).run_id == frozen.run_id
    assert embedded(workspace) == plain
    over = do(workspace, "night", "1/3", open_worker=pytest.fail)
    assert over.over
    assert freeze(workspace, bucket) == frozen


def test_an_unfinished_run_is_joined_by_a_name(workspace, bucket):
    first = freeze(workspace, bucket)
    second = freeze(workspace, bucket, "other")
    assert (second.run_id, second.joined) == (first.run_id, True)


def test_two_that_freeze_one_name_at_once_get_one_run(workspace, bucket):
    found = []
    freezers = [
        threading.Thread(target=lambda: found.append(freeze(workspace, bucket))) for _ in range(4)
    ]
    for freezer in freezers:
        freezer.start()
    for freezer in freezers:
        freezer.join()
    assert len({frozen.run_id for frozen in found}) == 1
    assert len(set(found)) == 1


def test_nothing_to_do_has_a_name_but_no_run(workspace, bucket):
    freeze(workspace, bucket)
    do(workspace, "night", "1/1")
    commit(workspace, "night")
    frozen = freeze(workspace, bucket, "next")
    assert (frozen.run_id, frozen.shards, frozen.objects, frozen.skipped) == (None, 0, 0, 20)
    assert do(workspace, "next", "2/16", open_worker=pytest.fail).over
    summary = commit(workspace, "next")
    assert (summary.run_id, summary.counts.skipped, summary.objects) == (None, 20, 20)


def test_scoring_by_slices_labels_every_image_and_drops_deleted_ones(workspace, bucket):
    freeze(workspace, bucket, job=SCORE)
    for index in (2, 1, 3):
        do(workspace, "night", f"{index}/3")
    assert commit(workspace, "night").counts.done == 20
    (bucket / "even" / "0000.png").unlink()
    frozen = freeze(workspace, bucket, "next", SCORE)  # nothing to score, but labels to drop
    assert (frozen.shards, frozen.run_id is None) == (0, False)
    assert do(workspace, "next", "1/2", open_worker=pytest.fail).shards == 0
    commit(workspace, "next")
    assert LabelsTable(workspace, "m").table.scan().read_all().num_rows == 19


def test_a_run_that_was_given_up_or_is_gone_is_told_in_a_line(workspace, bucket):
    frozen = freeze(workspace, bucket)
    give_up(workspace, frozen.run_id)
    for use in (
        lambda: do(workspace, "night", "1/1"),
        lambda: commit(workspace, "night"),
        lambda: freeze(workspace, bucket),
    ):
        with pytest.raises(ConfigurationError, match=r"given up: .* another name"):
            use()
    workspace.delete(layout.summary(frozen.run_id))
    workspace.delete(layout.plan(frozen.run_id))
    with pytest.raises(ConfigurationError, match="is gone"):
        do(workspace, "night", "1/1")


def test_a_plan_whose_labels_a_gate_refused_says_so(workspace, bucket):
    freeze(workspace, bucket, job=SCORE)
    do(workspace, "night", "1/1")

    def refuse(_run_id, _counts):
        raise GateFailed("churn is 12 %")

    executor = InThisProcess(lambda run: TestWorker(workspace, run))
    manifest = manifests.freeze(workspace, str(bucket))
    with pytest.raises(GateFailed):
        run_job(workspace, SCORE, manifest, executor, SILENT, refuse)
    for use in (commit, lambda *plan: do(*plan, "1/1")):
        with pytest.raises(ConfigurationError, match=r"churn is 12 %") as told:
            use(workspace, "night")
        assert "vacuum" not in str(told.value)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-a", "a b", "x" * 201, "01" + "A" * 24])
def test_names_that_are_none_are_refused(workspace, bucket, name):
    with pytest.raises(ConfigurationError):
        freeze(workspace, bucket, name)


def test_a_name_of_another_job_or_of_nothing_is_refused(workspace, bucket):
    freeze(workspace, bucket)
    with pytest.raises(ConfigurationError, match="another job's"):
        freeze(workspace, bucket, job=SCORE)
    with pytest.raises(ConfigurationError, match=r"There is no plan other .*--freeze other"):
        load(workspace, "other")
    with pytest.raises(ConfigurationError, match="There is no run"):
        load(workspace, "01" + "A" * 24)
    with pytest.raises(ConfigurationError, match="linnaeus embed --plan night"):
        slices.find(workspace, "night", ScoreJob)
