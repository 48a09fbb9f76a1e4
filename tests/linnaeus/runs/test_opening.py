import concurrent.futures
import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow.compute as pc
import pytest

from linnaeus import Workspace, images, layout, manifests, runs
from linnaeus.errors import (
    ConfigurationError,
    FailureCode,
    ReconciliationError,
    ServingError,
    StorageError,
)
from linnaeus.jobs import InThisProcess, run_job, submit_job
from linnaeus.labels import LabelsTable
from linnaeus.models import Model, ModelBackbone, load_model
from linnaeus.planning import EmbedJob, ScoreJob, plans
from linnaeus.progress import SILENT
from linnaeus.records import EMBEDDINGS, FAILURES, OBJECTS, PREDICTIONS
from linnaeus.status import observer
from linnaeus.storage import Folder
from linnaeus.tables import EmbeddingTable, Table, read_matrix
from linnaeus.worker import do_shard, shards
from tests import pictures
from tests.buckets import BrightnessScorer, TestWorker, fill, png
from tests.pixel_engine import SPEC, PixelEngine

EMBED = EmbedJob(SPEC.fingerprint)
SCORE = ScoreJob(SPEC.fingerprint, "m", 1, "embedding")


@pytest.fixture
def bucket(tmp_path):
    return fill(tmp_path / "bucket", 20)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    limits = plans.ShardLimits(6)
    monkeypatch.setattr(plans.ShardLimits, "for_run", lambda objects: limits)


def in_this_process(workspace):
    return InThisProcess(lambda run: TestWorker(workspace, run))


def run(workspace, bucket, job=EMBED, executor=None):
    manifest = manifests.freeze(workspace, str(bucket))
    return run_job(workspace, job, manifest, executor or in_this_process(workspace), SILENT)


def rows(workspace, key, schema):
    return Table(workspace, key, schema).scan().read_all()


def begin(workspace, bucket, job=EMBED):
    """A run that is planned, and of which nothing is done."""
    manifest = manifests.freeze(workspace, str(bucket))
    return runs.create_run(workspace, job, runs.make_plan(workspace, job, manifest))


def test_a_run_embeds_each_picture_once_and_the_next_has_nothing_to_do(workspace, bucket):
    summary = run(workspace, bucket)
    assert (summary.counts.planned, summary.counts.done, summary.counts.failed) == (20, 20, 0)
    assert rows(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS).num_rows == 20
    again = run(workspace, bucket)
    assert again.run_id is None
    assert again.counts.skipped == 20


def test_vectors_are_those_of_a_plain_loop(workspace, bucket):
    run(workspace, bucket)
    objects = rows(workspace, layout.OBJECTS, OBJECTS).to_pylist()
    matrix = read_matrix(workspace, SPEC.fingerprint, [o["sha256"] for o in objects])
    for row, vector in zip(objects, matrix, strict=True):
        pixels = images.decode(Path(row["uri"]).read_bytes(), SPEC.height, SPEC.width).pixels
        assert (vector == PixelEngine().embed(pixels[None])[0]).all()


def test_only_new_pictures_are_embedded(workspace, bucket):
    run(workspace, bucket)
    fill(bucket, 5, first=20)
    summary = run(workspace, bucket)
    assert (summary.counts.planned, summary.counts.skipped) == (5, 20)


def test_a_renamed_picture_is_read_but_not_computed_again(workspace, bucket):
    run(workspace, bucket)
    (bucket / "even" / "0000.png").rename(bucket / "even" / "renamed.png")
    summary = run(workspace, bucket)
    assert (summary.counts.planned, summary.counts.done, summary.counts.embedded) == (1, 1, 0)
    assert run(workspace, bucket).run_id is None


def test_two_names_of_one_content_have_one_vector_and_a_label_each(workspace, bucket):
    shutil.copy(bucket / "even" / "0000.png", bucket / "odd" / "copy.png")
    summary = run(workspace, bucket, SCORE)
    assert summary.counts.done == 21
    labels = LabelsTable(workspace, "m").table.scan().read_all().to_pylist()
    same = [row for row in labels if row["uri"].endswith(("even/0000.png", "copy.png"))]
    assert len(same) == 2
    assert len({(row["sha256"], row["confidence"]) for row in same}) == 1


def test_one_bad_picture_costs_no_other(workspace, bucket):
    (bucket / "even" / "empty.png").write_bytes(b"")
    (bucket / "even" / "text.png").write_text("no picture")
    (bucket / "even" / "cut.png").write_bytes(png(99)[:120])
    (bucket / "even" / "bomb.png").write_bytes(pictures.bomb())
    (bucket / "even" / "phone.jpg").write_bytes(pictures.heic())
    listing = bucket.parent / "list.csv"
    uris = [*bucket.rglob("*.png"), bucket / "even" / "phone.jpg", bucket / "even"]
    listing.write_text("uri\n" + "".join(f"{uri}\n" for uri in uris))
    summary = run(workspace, listing)
    assert (summary.counts.done, summary.counts.failed, summary.counts.new_failures) == (20, 6, 6)
    failures = rows(workspace, layout.FAILURES, FAILURES).to_pylist()
    codes = {f["uri"].rsplit("/", 1)[-1]: f["code"] for f in failures}
    unreadable = codes.pop("even")
    assert unreadable in {"NOT_FOUND", "ACCESS_DENIED", "SERVER_ERROR"}
    assert codes == {
        "empty.png": "EMPTY",
        "text.png": "NOT_AN_IMAGE",
        "cut.png": "CORRUPT",
        "bomb.png": "TOO_LARGE",
        "phone.jpg": "UNSUPPORTED",
    }


def test_an_object_that_no_memory_would_hold_is_not_read(workspace, bucket):
    with (bucket / "even" / "film.tiff").open("wb") as file:
        file.truncate(images.Limits().image_bytes + 1)
    counts = run(workspace, bucket).counts
    assert (counts.done, counts.codes) == (20, {"TOO_LARGE": 1})
    assert counts.bytes_read < images.Limits().image_bytes


def test_a_permanent_failure_is_not_tried_again(workspace, bucket):
    (bucket / "even" / "text.png").write_text("no picture")
    run(workspace, bucket)
    again = run(workspace, bucket)
    assert again.run_id is None
    assert again.counts.known_failures == 1


def test_a_permanent_failure_is_tried_again_when_the_decoder_changes(
    workspace, bucket, monkeypatch
):
    (bucket / "even" / "text.png").write_text("no picture")
    run(workspace, bucket)
    monkeypatch.setattr("linnaeus.images.decoder_version", lambda: "a newer decoder")
    assert run(workspace, bucket).counts.planned == 1


def test_a_transient_failure_is_tried_five_times_and_no_more(workspace, bucket):
    listing = bucket.parent / "list.csv"
    listing.write_text(f"uri\n{bucket}/even/0000.png\n{bucket}/gone.png\n")
    summaries = [run(workspace, listing) for _ in range(7)]
    assert [s.counts.failed for s in summaries] == [1, 1, 1, 1, 1, 0, 0]
    assert [s.counts.new_failures for s in summaries] == [1, 0, 0, 0, 0, 0, 0]
    attempts = rows(workspace, layout.FAILURES, FAILURES)["attempt"].to_pylist()
    assert sorted(attempts) == [1, 2, 3, 4, 5]


class Refusing(BrightnessScorer):
    """Has no answer for the first content."""

    def __init__(self, code):
        super().__init__()
        self.error = ServingError("refused", code)

    def score(self, model, version, signature, rows):
        answers = iter(list(super().score(model, version, signature, rows)))
        yield next(answers)[0], self.error
        yield from answers


def refusing(workspace, code):
    def open_worker(spec):
        worker = TestWorker(workspace, spec)
        worker.__dict__["_scorer"] = Refusing(code)
        return worker

    return InThisProcess(open_worker)


@pytest.mark.slow
def test_an_embedded_picture_is_sent_five_times_and_no_more(workspace, tmp_path):
    bucket = fill(tmp_path / "bucket", 1)
    run(workspace, bucket)
    refused = refusing(workspace, FailureCode.SERVER_ERROR)
    summaries = [run(workspace, bucket, SCORE, refused) for _ in range(7)]
    assert [s.counts.failed for s in summaries] == [1, 1, 1, 1, 1, 0, 0]
    assert [s.counts.known_failures for s in summaries] == [0, 0, 0, 0, 0, 1, 1]


def test_an_embedding_that_a_server_refuses_is_not_sent_again(workspace, tmp_path):
    bucket = fill(tmp_path / "bucket", 1)
    refused = refusing(workspace, FailureCode.CORRUPT)
    summaries = [run(workspace, bucket, SCORE, refused) for _ in range(2)]
    assert [s.counts.failed for s in summaries] == [1, 0]
    other = ScoreJob(SPEC.fingerprint, "other", 1, "embedding")
    assert run(workspace, bucket, other).counts.done == 1


def test_pixels_that_a_server_refuses_can_be_embedded(workspace, tmp_path):
    bucket = fill(tmp_path / "bucket", 1)
    job = ScoreJob(SPEC.fingerprint, "m", 1, "pixels")
    run(workspace, bucket, job, refusing(workspace, FailureCode.CORRUPT))
    assert run(workspace, bucket).counts.embedded == 1


@pytest.mark.slow
def test_a_picture_that_another_source_scored_is_labelled_here_too(workspace, tmp_path):
    bucket = fill(tmp_path / "bucket", 4)
    run(workspace, bucket, SCORE, refusing(workspace, FailureCode.SERVER_ERROR))
    for folder in ("even", "odd"):
        run(workspace, bucket / folder, SCORE)
    run(workspace, bucket, SCORE)
    labels = LabelsTable(workspace, "m").table.scan().read_all().to_pylist()
    assert [row["status"] for row in labels if row["source"] == str(bucket)] == ["labelled"] * 4
    assert run(workspace, bucket, SCORE).run_id is None


def test_the_same_command_joins_the_unfinished_run(workspace, bucket):
    begun = begin(workspace, bucket)
    do_shard(TestWorker(workspace, begun), 1)
    summary = run(workspace, bucket)
    assert summary.run_id == begun.run_id
    assert rows(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS).num_rows == 20


def test_after_joining_an_older_run_what_is_left_is_planned(workspace, bucket):
    begun = begin(workspace, bucket)
    fill(bucket, 5, first=20)
    summary = run(workspace, bucket)
    assert summary.run_id != begun.run_id
    assert workspace.head(layout.summary(begun.run_id))
    assert (summary.counts.planned, summary.counts.skipped) == (5, 20)


def test_what_failed_in_a_joined_run_counts_for_the_command(workspace, bucket):
    (bucket / "even" / "text.png").write_text("no picture")
    begin(workspace, bucket)
    fill(bucket, 5, first=20)
    summary = run(workspace, bucket)
    assert (summary.counts.failed, summary.counts.new_failures) == (0, 1)
    assert summary.counts.known_failures == 1


def test_a_joined_run_that_leaves_nothing_is_the_commands_own(workspace, bucket):
    begun = begin(workspace, bucket)
    (bucket / "even" / "0000.png").unlink()
    summary = run(workspace, bucket)
    assert (summary.run_id, summary.counts.skipped) == (begun.run_id, 19)


def test_commands_started_at_once_share_one_run(workspace, bucket):
    manifest = manifests.freeze(workspace, str(bucket))

    def start(_):
        return runs.create_run(workspace, EMBED, runs.make_plan(workspace, EMBED, manifest))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        started = list(pool.map(start, range(8)))
    assert len({spec.run_id for spec in started}) == 1
    assert len([e for e in workspace.list(layout.RUNS) if e.key.endswith("plan.parquet")]) == 1


def test_a_plan_from_before_another_runs_commit_joins_that_run(workspace, bucket):
    manifest = manifests.freeze(workspace, str(bucket))
    late = runs.make_plan(workspace, EMBED, manifest)
    first = run(workspace, bucket)
    assert runs.create_run(workspace, EMBED, late).run_id == first.run_id


def test_a_claim_whose_answer_was_lost_is_ones_own(workspace, bucket, monkeypatch):
    """An object store may repeat a create whose answer was lost, and then say: it exists."""
    real = Folder.write_new

    def repeating(self, key, data):
        return real(self, key, data) and not key.startswith("runs/.index")

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write_new", repeating)
        begun = begin(workspace, bucket)
    assert run(workspace, bucket).run_id == begun.run_id


def test_runs_of_other_options_are_not_joined(workspace, bucket):
    begin(workspace, bucket)
    other = EmbedJob("another-fingerprint")
    source = manifests.freeze(workspace, str(bucket)).source
    assert runs.open_run(workspace, other, source) is None
    assert runs.open_run(workspace, EMBED, source) is not None


def test_a_done_shard_is_not_done_again(workspace, bucket):
    begun = begin(workspace, bucket)
    first, second = TestWorker(workspace, begun), TestWorker(workspace, begun)
    receipt = do_shard(first, 0)
    assert do_shard(second, 0) == receipt
    assert second.engine.embedded == 0


def test_a_late_attempt_changes_nothing(workspace, bucket):
    """A worker that was thought dead writes after another did its shard and the run committed."""
    begun = begin(workspace, bucket)
    late = shards.begin(TestWorker(workspace, begun), 0)
    in_this_process(workspace).execute(begun)
    runs.commit(workspace, begun.run_id)
    before = rows(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS)
    shards.finish(late, shards.work(late))
    assert rows(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS) == before
    assert run(workspace, bucket).run_id is None


def test_attempts_at_a_shard_never_mix(workspace, bucket):
    """One attempt finds a picture and dies; the next does not find it, and its counts are true."""
    begun = begin(workspace, bucket)
    first = shards.begin(TestWorker(workspace, begun), 0)
    shards.write_parts(first, shards.work(first))
    lost = plans.read_shard(workspace, begun.run_id, 0)[0].reference.uri
    (bucket / lost).unlink()
    in_this_process(workspace).execute(begun)
    counts = runs.commit(workspace, begun.run_id)
    assert (counts.done, counts.failed) == (19, 1)
    objects = rows(workspace, layout.OBJECTS, OBJECTS)
    stored = set(
        rows(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS)["sha256"].to_pylist()
    )
    assert set(objects["sha256"].to_pylist()) == stored
    assert lost not in objects["uri"].to_pylist()


def test_a_shard_without_receipt_is_not_committed(workspace, bucket):
    begun = begin(workspace, bucket)
    do_shard(TestWorker(workspace, begun), 0)
    with pytest.raises(ReconciliationError, match="3 of 4 shards are not done"):
        runs.commit(workspace, begun.run_id)
    assert rows(workspace, layout.OBJECTS, OBJECTS).num_rows == 0


def test_a_part_whose_answer_was_lost_is_the_attempts_own(workspace, bucket, monkeypatch):
    """An object store may repeat a create whose answer was lost, and then say: it exists."""
    begun = begin(workspace, bucket)
    real = Folder.write_new

    def repeating(self, key, data):
        return real(self, key, data) and not key.startswith(("embeddings/", "runs/"))

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write_new", repeating)
        do_shard(TestWorker(workspace, begun), 0)
    assert len([e for e in workspace.list(layout.RUNS) if "/attempts/" in e.key]) == 1
    run(workspace, bucket)
    assert rows(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS).num_rows == 20


def test_a_part_of_an_attempts_own_that_somebody_else_wrote_ends_the_attempt(workspace, bucket):
    begun = begin(workspace, bucket)
    table = layout.embeddings(SPEC.fingerprint)
    key = layout.attempt_part(table, begun.run_id, 0, 1)
    workspace.write_new(key, b"not mine")
    with pytest.raises(StorageError, match="same command"):
        do_shard(TestWorker(workspace, begun), 0)
    run(workspace, bucket)
    assert rows(workspace, table, EMBEDDINGS).num_rows == 20


def test_counts_that_do_not_add_up_are_not_committed(workspace, bucket, monkeypatch):
    begun = begin(workspace, bucket)
    whole = plans.read_shard
    monkeypatch.setattr("linnaeus.planning.plans.read_shard", lambda *place: whole(*place)[1:])
    in_this_process(workspace).execute(begun)
    with pytest.raises(
        ReconciliationError, match="of 20 objects 20 were planned and 0 skipped; 16 are done"
    ):
        runs.commit(workspace, begun.run_id)
    assert rows(workspace, layout.OBJECTS, OBJECTS).num_rows == 0


def test_a_plan_that_leaves_objects_out_is_not_committed(workspace, bucket):
    manifest = manifests.freeze(workspace, str(bucket))
    plan = runs.make_plan(workspace, EMBED, manifest)
    first_is_lost = plans.Draft(plan.spec, list(plan.draft.shards())[1:])
    begun = runs.create_run(workspace, EMBED, replace(plan, draft=first_is_lost))
    in_this_process(workspace).execute(begun)
    with pytest.raises(ReconciliationError, match="of 20 objects 14 were planned"):
        runs.commit(workspace, begun.run_id)
    assert rows(workspace, layout.OBJECTS, OBJECTS).num_rows == 0


def test_a_commit_that_died_between_tables_is_completed(workspace, bucket, monkeypatch):
    begun = begin(workspace, bucket)
    in_this_process(workspace).execute(begun)
    real = Table.append

    def dying(self, parts, run_id):
        if self.key == layout.OBJECTS:
            raise KeyboardInterrupt
        real(self, parts, run_id)

    with monkeypatch.context() as patch:
        patch.setattr(Table, "append", dying)
        with pytest.raises(KeyboardInterrupt):
            runs.commit(workspace, begun.run_id)
    summary = run(workspace, bucket)
    assert summary.run_id == begun.run_id
    assert rows(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS).num_rows == 20
    assert rows(workspace, layout.OBJECTS, OBJECTS).num_rows == 20


def test_committing_an_unknown_run_names_it(workspace):
    with pytest.raises(ConfigurationError, match="no run 01X"):
        runs.commit(workspace, "01X")


def test_committing_by_hand_tells_of_every_object(workspace, bucket):
    (bucket / "even" / "text.png").write_text("no picture")
    run(workspace, bucket)
    fill(bucket, 5, first=20)
    begun = begin(workspace, bucket)
    in_this_process(workspace).execute(begun)
    assert Workspace(workspace.uri).commit(begun.run_id).objects == 26


def test_progress_that_cannot_be_seen_for_a_moment_costs_nothing(workspace, bucket, monkeypatch):
    lost, looked = [], threading.Event()
    monkeypatch.setattr(threading, "excepthook", lost.append)

    def refused(*_):
        looked.set()
        raise StorageError("too busy")

    def execute_when_looked_at(spec):
        with monkeypatch.context() as patch:
            patch.setattr("linnaeus.worker.receipts.receipts_listed", refused)
            assert looked.wait(timeout=10)
            looked.clear()
            assert looked.wait(timeout=10)
        in_this_process(workspace).execute(spec)

    executor = SimpleNamespace(get_ready=lambda _: None, execute=execute_when_looked_at)
    assert run(workspace, bucket, executor=executor).counts.done == 20
    assert not lost


def test_a_summary_has_the_reconciled_counts(workspace, bucket):
    run_id = run(workspace, bucket).run_id
    summary = json.loads(workspace.read(layout.summary(run_id)))
    assert summary["counts"]["planned"] == summary["counts"]["done"] == 20


def test_scoring_embeds_what_is_new_and_labels_everything(workspace, bucket):
    run(workspace, bucket)
    fill(bucket, 4, first=20)
    (bucket / "even" / "text.png").write_text("no picture")
    summary = run(workspace, bucket, SCORE)
    assert (summary.counts.done, summary.counts.embedded, summary.counts.failed) == (24, 4, 1)
    labels = LabelsTable(workspace, "m").table.scan().read_all()
    assert labels["status"].to_pylist().count("labelled") == 24
    assert labels.filter(pc.equal(labels["status"], "failed"))["code"].to_pylist() == [
        "NOT_AN_IMAGE"
    ]
    assert run(workspace, bucket, SCORE).run_id is None


def test_each_content_is_asked_for_once(workspace, bucket):
    for number in range(5):
        shutil.copy(bucket / "even" / "0000.png", bucket / "odd" / f"copy{number}.png")
    workers = []

    def open_worker(spec):
        workers.append(TestWorker(workspace, spec))
        return workers[-1]

    run(workspace, bucket, EMBED)
    run(workspace, bucket, SCORE, InThisProcess(open_worker))
    assert workers[0]._scorer.asked == 20
    assert rows(workspace, layout.predictions("m"), PREDICTIONS).num_rows == 25


def test_vectors_of_another_backbone_are_computed_too(workspace, bucket):
    run(workspace, bucket)
    summary = run(workspace, bucket, EmbedJob("another-fingerprint"))
    assert (summary.counts.done, summary.counts.embedded) == (20, 20)


def test_pictures_that_were_scored_as_pixels_can_be_embedded(workspace, bucket):
    run(workspace, bucket, ScoreJob(SPEC.fingerprint, "m", 1, "pixels"))
    second = run(workspace, bucket, ScoreJob(SPEC.fingerprint, "m", 2, "embedding"))
    assert (second.counts.done, second.counts.embedded) == (20, 20)


def test_stored_vectors_are_scored_without_reading_a_picture(workspace, bucket, monkeypatch):
    run(workspace, bucket)
    monkeypatch.setattr(
        "linnaeus.worker.shards.read", lambda reference: pytest.fail("read a picture")
    )
    assert run(workspace, bucket, SCORE).counts.done == 20


def test_labels_follow_the_newest_manifest(workspace, bucket):
    run(workspace, bucket, SCORE)
    (bucket / "even" / "0000.png").unlink()
    summary = run(workspace, bucket, SCORE)
    assert summary.counts.planned == 0
    labels = LabelsTable(workspace, "m").table.scan().read_all()
    assert labels.num_rows == 19


def test_a_content_that_two_runs_embedded_at_once_is_read_once(workspace, bucket, tmp_path):
    shutil.copytree(bucket, tmp_path / "other")
    begun = [begin(workspace, folder) for folder in (bucket, tmp_path / "other")]
    for spec in begun:
        in_this_process(workspace).execute(spec)
    for spec in begun:
        runs.commit(workspace, spec.run_id)
    table = rows(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS)
    assert table.num_rows == 40
    digests = sorted(set(table["sha256"].to_pylist()))
    assert read_matrix(workspace, SPEC.fingerprint, digests).shape == (20, SPEC.embedding_size)
    assert run(workspace, bucket, SCORE).counts.done == 20
    assert LabelsTable(workspace, "m").table.scan().read_all().num_rows == 20


def test_getting_ready_is_no_work(workspace, tmp_path):
    """A forecast takes it to last as long for one object as for a million."""

    class Slow(InThisProcess):
        def get_ready(self, run):
            time.sleep(0.5)

    manifest = manifests.freeze(workspace, str(fill(tmp_path / "bucket", 3)))
    executor = Slow(lambda run: TestWorker(workspace, run))
    done = run_job(workspace, EMBED, manifest, executor, SILENT)
    assert 0 < done.working_seconds <= done.seconds - 0.5


@pytest.mark.parametrize("job_of", [run_job, submit_job])
def test_a_run_that_cannot_get_ready_is_not_made(workspace, tmp_path, job_of):
    class Unready(InThisProcess):
        def get_ready(self, run):
            raise ServingError("no server answers", FailureCode.THROTTLED)

    manifest = manifests.freeze(workspace, str(fill(tmp_path / "bucket", 3)))
    progress = [SILENT] if job_of is run_job else []
    with pytest.raises(ServingError):
        job_of(workspace, EMBED, manifest, Unready(lambda _: None), *progress)
    assert observer.unfinished(workspace) == []


def test_labels_follow_the_newest_manifest_though_older_ones_were_deleted(workspace, tmp_path):
    bucket = fill(tmp_path / "bucket", 3)
    run(workspace, bucket, SCORE)
    run(workspace, fill(bucket, 1, first=3), SCORE)
    shutil.rmtree(workspace.uri_of("manifests"))
    run(workspace, fill(bucket, 1, first=4), SCORE)
    assert LabelsTable(workspace, "m").table.scan().read_all().num_rows == 5


def test_an_older_manifest_never_replaces_a_newer_ones_labels(workspace, bucket):
    older = begin(workspace, bucket, SCORE)
    in_this_process(workspace).execute(older)
    fill(bucket, 5, first=20)
    newer_manifest = manifests.freeze(workspace, str(bucket))
    plan = runs.make_plan(workspace, SCORE, newer_manifest)
    workspace.write_new_file(layout.plan(plan.spec.run_id), plan.draft.path)
    in_this_process(workspace).execute(plan.spec)
    runs.commit(workspace, plan.spec.run_id)
    runs.commit(workspace, older.run_id)
    labels = LabelsTable(workspace, "m").table.scan().read_all()
    assert labels.num_rows == 25
    assert set(labels["manifest_id"].to_pylist()) == {newer_manifest.id}


def test_a_source_keeps_its_labels_when_another_is_scored(workspace, bucket, tmp_path):
    run(workspace, bucket, SCORE)
    other = fill(tmp_path / "o'ther", 3, first=50)
    run(workspace, other, SCORE)
    assert LabelsTable(workspace, "m").table.scan().read_all().num_rows == 23


def test_going_back_to_an_older_version_brings_its_labels_back(workspace, bucket):
    second = ScoreJob(SPEC.fingerprint, "m", 2, "embedding")
    for job in (SCORE, second, SCORE):
        run(workspace, bucket, job)
    labels = LabelsTable(workspace, "m").table.scan().read_all()
    assert set(labels["model_version"].to_pylist()) == {1}
    assert rows(workspace, layout.predictions("m"), PREDICTIONS).num_rows == 40


def test_labels_of_another_model_of_the_same_name_and_number_are_not_current(workspace, bucket):
    first, second = (replace(SCORE, trained_by=training) for training in ("01A", "01B"))
    assert run(workspace, bucket, first).counts.done == 20
    assert run(workspace, bucket, first).run_id is None
    assert run(workspace, bucket, second).counts.done == 20
    labels = LabelsTable(workspace, "m")
    assert set(labels.table.scan().read_all()["trained_by"].to_pylist()) == {"01B"}
    assert labels.are_of("01B") and not labels.are_of("01A")


def test_failures_of_another_model_of_the_same_name_and_number_are_not_its_own(workspace, bucket):
    first, second = (replace(SCORE, trained_by=training) for training in ("01A", "01B"))
    refused = run(workspace, bucket, first, refusing(workspace, FailureCode.CORRUPT)).counts
    assert refused.failed
    assert run(workspace, bucket, second).counts.done == 20


def test_a_frozen_run_is_not_done_by_another_model_of_the_same_name_and_number(workspace, bucket):
    begun = begin(workspace, bucket, replace(SCORE, trained_by="01A"))
    model = Model("m", 1, ("a", "b"), ModelBackbone.of(SPEC), run_id="01B")
    workspace.write(f"{model.prefix}/linnaeus.json", model.to_json().encode())
    with pytest.raises(ConfigurationError, match="the m:1 that 01A trained is gone"):
        load_model(workspace, begun.named, begun.trained_by)
    assert load_model(workspace, begun.named, "01B") == model


def test_pixels_are_scored_without_storing_vectors(workspace, bucket):
    job = ScoreJob(SPEC.fingerprint, "m", 1, "pixels")
    assert run(workspace, bucket, job).counts.done == 20
    assert EmbeddingTable(workspace, SPEC.fingerprint).version is not None
    assert rows(workspace, layout.embeddings(SPEC.fingerprint), EMBEDDINGS).num_rows == 0


def test_a_changed_picture_is_failed_as_changed_and_then_embedded(workspace, bucket):
    begun = begin(workspace, bucket)
    (bucket / "even" / "0000.png").write_bytes(png(500))
    in_this_process(workspace).execute(begun)
    assert runs.commit(workspace, begun.run_id).codes == {"CHANGED": 1}
    assert run(workspace, bucket).counts.done == 1
