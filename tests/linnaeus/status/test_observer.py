"""What a launcher tells of a real run, and what an observer sees of it."""

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from linnaeus import Workspace, layout, manifests, runs
from linnaeus.cli.app import app
from linnaeus.errors import ConfigurationError, LinnaeusError, StorageError
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.planning import EmbedJob, plans
from linnaeus.progress import SILENT
from linnaeus.status import RunProgress, RunState, overview
from linnaeus.status.details import describe
from linnaeus.status.observer import Observer, follow, unfinished
from linnaeus.storage import Folder
from linnaeus.worker import ReceiptReader, do_shard
from tests.buckets import TestWorker, fill
from tests.pixel_engine import SPEC

EMBED = EmbedJob(SPEC.fingerprint)


@pytest.fixture
def bucket(tmp_path):
    folder = fill(tmp_path / "bucket", 20)
    (folder / "even" / "text.png").write_text("no picture")
    return folder


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    limits = plans.ShardLimits(6)
    monkeypatch.setattr(plans.ShardLimits, "for_run", lambda objects: limits)


def in_this_process(workspace):
    return InThisProcess(lambda run: TestWorker(workspace, run))


def launch(workspace, bucket, execute=None, job=EMBED):
    manifest = manifests.freeze(workspace, str(bucket))
    executor = SimpleNamespace(
        get_ready=lambda _: None, execute=execute or in_this_process(workspace).execute
    )
    return run_job(workspace, job, manifest, executor, SILENT)


def begin(workspace, bucket, shards=0):
    """A run that is claimed, and of which so many shards are done."""
    manifest = manifests.freeze(workspace, str(bucket))
    run = runs.create_run(workspace, EMBED, runs.make_plan(workspace, EMBED, manifest))
    for number in range(shards):
        do_shard(TestWorker(workspace, run), number)
    return run


def written(workspace, run_id) -> RunProgress:
    return RunProgress.read_or_none(workspace, layout.progress(run_id))


def age(workspace, *keys, seconds=3600.0):
    """Let files of a workspace have been written that long ago."""
    for key in keys:
        for path in Path(workspace.uri).glob(key):
            os.utime(path, (time.time() - seconds,) * 2)


def test_a_committed_run_leaves_its_last_figures(workspace, bucket):
    summary = launch(workspace, bucket)
    last = written(workspace, summary.run_id)
    assert (last.state, last.done, last.failed) == (RunState.COMMITTED, 20, 1)
    assert (last.shards_done, last.bytes_read) == (last.shards, summary.counts.bytes_read)
    assert Observer(workspace, summary.run_id).poll().progress.done == 20


def test_an_observer_sees_what_the_launcher_sees(workspace, bucket):
    seen = []

    def execute(run):
        for number in range(len(run.shard_sizes)):
            do_shard(TestWorker(workspace, run), number)
            seen.append(Observer(workspace, run.run_id).poll())

    summary = launch(workspace, bucket, execute)
    assert [s.progress.finished for s in seen] == [6, 12, 18, 21]
    assert all(s.alive and s.trouble is None for s in seen)
    assert seen[-1].progress.done == written(workspace, summary.run_id).done


def test_a_run_that_was_stopped_says_why(workspace, bucket):
    def execute(run):
        do_shard(TestWorker(workspace, run), 0)
        raise LinnaeusError("the server\n  went away")

    with pytest.raises(LinnaeusError):
        launch(workspace, bucket, execute)
    [run_id] = unfinished(workspace)
    last = written(workspace, run_id)
    assert (last.state, last.error, last.finished) == ("stopped", "the server went away", 6)
    assert Observer(workspace, run_id).poll().progress.state is RunState.STOPPED


def test_a_stopped_run_that_somebody_goes_on_with_is_running(workspace, bucket):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch(workspace, bucket, interrupt)
    [run_id] = unfinished(workspace)
    assert written(workspace, run_id).error == "interrupted"
    run = plans.read_spec(workspace, run_id)
    age(workspace, layout.progress(run_id), seconds=5)
    do_shard(TestWorker(workspace, run), 0)
    assert Observer(workspace, run_id).poll().progress.state is RunState.RUNNING


def test_another_launchers_commit_counts_more_than_ones_own_error(workspace, bucket):
    def execute(run):
        in_this_process(workspace).execute(run)
        runs.commit(workspace, run.run_id)
        raise LinnaeusError("too late")

    with pytest.raises(LinnaeusError):
        launch(workspace, bucket, execute)
    [run] = overview(workspace)["runs"]
    last = written(workspace, run["run"])
    assert (last.state, last.error, last.done) == ("committed", None, 20)


def test_a_progress_file_that_cannot_be_written_costs_nothing(workspace, bucket, monkeypatch):
    write = Folder.write

    def refuse(self, key, data):
        if key.endswith("progress.json"):
            raise StorageError("no room")
        write(self, key, data)

    monkeypatch.setattr(Folder, "write", refuse)
    assert launch(workspace, bucket).counts.done == 20


def test_a_receipt_is_read_once(workspace, bucket, monkeypatch):
    run = begin(workspace, bucket, shards=2)
    asked: Counter[str] = Counter()
    read_range = Folder.read_range

    def counting(self, key, start, end):
        asked[key] += 1
        return read_range(self, key, start, end)

    monkeypatch.setattr(Folder, "read_range", counting)
    reader = ReceiptReader(workspace, run)
    reader.poll()
    for number in range(2, len(run.shard_sizes)):
        do_shard(TestWorker(workspace, run), number)
    reader.poll()
    counts = runs.commit(workspace, run.run_id, reader)
    receipts = [layout.shard_part("objects", run.run_id, n) for n in range(len(run.shard_sizes))]
    assert asked == Counter(receipts)
    assert counts.done == 20


def test_following_ends_with_the_commit(workspace, bucket):
    run = begin(workspace, bucket)
    left = list(range(len(run.shard_sizes)))

    states = []
    for status in follow(workspace, run.run_id):
        states.append(status.progress)
        if left:
            do_shard(TestWorker(workspace, run), left.pop())
        else:
            runs.commit(workspace, run.run_id)
    assert [s.shards_done for s in states] == [0, 1, 2, 3, 4, 4]
    assert [s.state for s in states[-2:]] == ["running", "committed"]
    assert states[-1].finished == 21


def test_a_run_without_a_launcher_is_stalled_and_the_remedy_is_told(workspace, bucket):
    run = begin(workspace, bucket, shards=2)
    assert Observer(workspace, run.run_id).poll().trouble is None
    age(workspace, f"objects/{run.run_id}/*", layout.plan(run.run_id))
    told = Observer(workspace, run.run_id).poll().trouble
    assert "no shard was finished for 1 h 0 min" in told
    assert "issue the same command again" in told


def test_a_run_that_nobody_commits_is_told(workspace, bucket):
    run = begin(workspace, bucket, shards=4)
    age(workspace, f"objects/{run.run_id}/*", layout.plan(run.run_id))
    assert f"linnaeus commit {run.run_id}" in Observer(workspace, run.run_id).poll().trouble


def test_a_plan_that_was_never_claimed_is_no_unfinished_run(workspace, bucket):
    manifest = manifests.freeze(workspace, str(bucket))
    plan = runs.make_plan(workspace, EMBED, manifest)
    workspace.write_new_file(layout.plan(plan.spec.run_id), plan.draft.path)
    assert unfinished(workspace) == []
    assert overview(workspace)["runs"] == []


def test_status_shows_how_far_unfinished_runs_are_and_who_is_at_work(workspace, bucket):
    run = begin(workspace, bucket, shards=1)
    [described] = overview(workspace)["runs"]
    assert (described["finished"], described["of"]) == (6, 21)
    assert described["launcher"] == "never heard of"
    workspace.write(layout.progress(run.run_id), b"{}")
    assert overview(workspace)["runs"][0]["launcher"] == "at work"
    age(workspace, layout.progress(run.run_id))
    assert overview(workspace)["runs"][0]["launcher"] == "silent for 1 h 0 min"


def test_an_old_unfinished_run_is_not_forgotten(workspace, bucket, monkeypatch):
    old = begin(workspace, bucket)
    monkeypatch.setattr(sys.modules["linnaeus.status.overview"], "NEWEST_RUNS", 1)
    newer = [launch(workspace, bucket / name).run_id for name in ("odd", "even")]
    assert [run["run"] for run in overview(workspace)["runs"]] == [newer[-1], old.run_id]


def test_a_runs_failures_are_shown_before_and_after_its_commit(workspace, bucket):
    run = begin(workspace, bucket, shards=4)
    before = describe(workspace, run.run_id, failures=10)
    runs.commit(workspace, run.run_id)
    after = describe(workspace, run.run_id, failures=10)
    assert before.failures == after.failures
    assert before.codes == after.codes == {"NOT_AN_IMAGE": 1}
    assert before.failures[0]["uri"].endswith("text.png")
    assert describe(workspace, run.run_id, failures=0).failures == []


def test_a_run_that_does_not_exist_is_named(workspace):
    with pytest.raises(ConfigurationError, match="there is no run 01X"):
        describe(workspace, "01X", 1)


def status(workspace, *arguments):
    return CliRunner().invoke(app, ["status", *arguments, "--workspace", workspace.uri])


def test_the_command_shows_a_run_with_its_failures(workspace, bucket):
    run_id = launch(workspace, bucket).run_id
    shown = status(workspace, run_id).stdout
    assert f"Run {run_id} is committed: 21 of 21 images, 1 failed" in shown
    assert "failed: NOT_AN_IMAGE 1" in shown
    assert "text.png: NOT_AN_IMAGE, attempt 1: " in shown
    facts = json.loads(status(workspace, run_id, "--json").stdout)
    assert (facts["state"], facts["codes"]) == ("committed", {"NOT_AN_IMAGE": 1})
    assert "and 1 more" in status(workspace, run_id, "--failures", "0").stdout


def test_watching_a_committed_run_ends_at_once(workspace, bucket):
    ended = status(workspace, launch(workspace, bucket).run_id, "--watch")
    assert ended.exit_code == 0
    assert "is committed" in ended.stdout


def test_watching_a_stopped_run_is_status_1_and_says_why(workspace, bucket):
    def execute(_):
        raise LinnaeusError("no room")

    with pytest.raises(LinnaeusError):
        launch(workspace, bucket, execute)
    ended = status(workspace, "--watch")
    assert (ended.exit_code, "it stopped: no room" in ended.stdout) == (1, True)


def test_watching_where_nothing_is_under_way_is_wrong_usage(workspace, bucket):
    launch(workspace, bucket)
    ended = status(workspace, "--watch")
    assert (ended.exit_code, "is under way" in ended.stderr) == (2, True)


def test_ctrl_c_ends_the_watch_quietly(workspace, bucket, monkeypatch):
    run = begin(workspace, bucket, shards=1)

    def interrupt(_workspace):
        raise KeyboardInterrupt

    monkeypatch.setattr("linnaeus.status.observer.poll_seconds", interrupt)
    ended = status(workspace, "--watch")
    assert (ended.exit_code, ended.stdout) == (130, "")
    assert ended.stderr == f"Embed: {run.run_id} goes on\n"


def test_a_stall_is_told_once(workspace, bucket, monkeypatch):
    run = begin(workspace, bucket, shards=1)
    age(workspace, f"objects/{run.run_id}/*", layout.plan(run.run_id))
    turns = iter([None] * 3)

    def interrupt_after_three(_workspace):
        if next(turns, "over") == "over":
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr("linnaeus.status.observer.poll_seconds", interrupt_after_three)
    lines = status(workspace, "--watch").stderr.splitlines()
    assert [line.partition(" ")[2][:8] for line in lines] == ["stalled:", f"{run.run_id} "[:8]]


def test_committing_by_hand_is_the_last_word_on_a_runs_progress(workspace, bucket):
    def execute(run):
        in_this_process(workspace).execute(run)
        raise LinnaeusError("the launcher died")

    with pytest.raises(LinnaeusError):
        launch(workspace, bucket, execute)
    [run_id] = unfinished(workspace)
    Workspace(workspace.uri).commit(run_id)
    assert written(workspace, run_id).state is RunState.COMMITTED
