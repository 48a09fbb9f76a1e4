from dataclasses import replace

import pytest

from linnaeus import layout, runs
from linnaeus.errors import ConfigurationError, FailureCode, ServingError
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.jobs import retry as retry_module
from linnaeus.labels import LabelsTable
from linnaeus.manifests import freeze
from linnaeus.planning import EmbedJob, ScoreJob, plans
from linnaeus.progress import SILENT
from linnaeus.records import FAILURES
from linnaeus.tables import Table
from tests.buckets import BrightnessScorer, TestWorker, fill, png
from tests.pixel_engine import SPEC

pytestmark = pytest.mark.slow

EMBED = EmbedJob(SPEC.fingerprint)
SCORE = ScoreJob(SPEC.fingerprint, "m", 1, "embedding")


class Refusing(BrightnessScorer):
    """Has no answer for the first content of a shard."""

    def __init__(self, code):
        super().__init__()
        self.error = ServingError("refused", code)

    def score(self, model, version, signature, rows):
        answers = iter(list(super().score(model, version, signature, rows)))
        yield next(answers)[0], self.error
        yield from answers


def in_this_process(workspace, refusal=None):
    def open_worker(spec):
        worker = TestWorker(workspace, spec)
        if refusal:
            worker.__dict__["_scorer"] = Refusing(refusal)
        return worker

    return InThisProcess(open_worker)


def run(workspace, bucket, job=EMBED, refusal=None):
    executor = in_this_process(workspace, refusal)
    return run_job(workspace, job, freeze(workspace, str(bucket)), executor, SILENT)


def retry(workspace, bucket, job=EMBED, codes=retry_module.CODES, refusal=None):
    if isinstance(job, ScoreJob):
        named = f"{job.model}:{job.model_version}"
        manifest = retry_module.scored_manifest(workspace, str(bucket), named, named)
    else:
        manifest = retry_module.embedded_manifest(workspace, str(bucket))
    job = retried(job, codes)
    return run_job(workspace, job, manifest, in_this_process(workspace, refusal), SILENT)


def retried(job, codes=retry_module.CODES):
    return replace(job, retried_codes=codes)


def failures(workspace):
    rows = Table(workspace, layout.FAILURES, FAILURES).scan().read_all().to_pylist()
    return sorted((row["attempt"], row["code"]) for row in rows)


def statuses(workspace):
    rows = LabelsTable(workspace, "m").table.scan().read_all().to_pylist()
    return sorted((row["status"], row["code"]) for row in rows)


@pytest.fixture
def bucket(tmp_path):
    return fill(tmp_path / "bucket", 4)


@pytest.fixture
def given_up(workspace, bucket):
    """One of four pictures was refused five times, and is not tried any more."""
    for _ in range(5):
        run(workspace, bucket, SCORE, FailureCode.THROTTLED)
    assert run(workspace, bucket, SCORE).counts.known_failures == 1
    return bucket


def test_what_was_given_up_is_labelled_by_a_retry(workspace, given_up):
    counts = retry(workspace, given_up, SCORE).counts
    assert (counts.planned, counts.done, counts.failed) == (1, 1, 0)
    assert statuses(workspace) == [("labelled", None)] * 4
    assert retry(workspace, given_up, SCORE).run_id is None
    assert run(workspace, given_up, SCORE).run_id is None


def test_what_fails_again_is_a_later_attempt_and_no_new_failure(workspace, given_up):
    for _ in range(2):
        counts = retry(workspace, given_up, SCORE, refusal=FailureCode.TIMEOUT).counts
        assert (counts.failed, counts.new_failures) == (1, 0)
    assert failures(workspace)[-2:] == [(6, "TIMEOUT"), (7, "TIMEOUT")]
    assert statuses(workspace)[0] == ("failed", "TIMEOUT")
    assert run(workspace, given_up, SCORE).counts.known_failures == 1


def test_new_pictures_are_left_alone(workspace, given_up):
    fill(given_up, 3, first=50)
    freeze(workspace, str(given_up))
    counts = retry(workspace, given_up, SCORE).counts
    assert (counts.planned, counts.done) == (1, 1)
    assert len(statuses(workspace)) == 4
    assert run(workspace, given_up, SCORE).counts.done == 3
    assert statuses(workspace) == [("labelled", None)] * 7


def test_an_embedding_retry_leaves_new_pictures_alone(workspace, bucket, monkeypatch):
    (bucket / "odd" / "cut.png").write_bytes(png(9)[:100])
    run(workspace, bucket)
    fill(bucket, 3, first=50)
    freeze(workspace, str(bucket))
    counts = retry(workspace, bucket, codes=frozenset({"CORRUPT"})).counts
    assert (counts.planned, counts.failed, counts.skipped) == (1, 1, 7)


def test_a_permanent_failure_is_tried_where_it_is_named(workspace, bucket):
    (bucket / "odd" / "cut.png").write_bytes(png(9)[:100])
    (bucket / "odd" / "empty.png").write_bytes(b"")
    run(workspace, bucket)
    assert retry(workspace, bucket).run_id is None
    again = retry(workspace, bucket, codes=frozenset({"CORRUPT"})).counts
    assert (again.planned, again.known_failures, again.new_failures) == (1, 1, 0)
    assert failures(workspace) == [(1, "CORRUPT"), (1, "EMPTY"), (2, "CORRUPT")]


def test_what_failed_for_a_backbone_is_no_new_failure_of_a_model(workspace, bucket):
    (bucket / "odd" / "cut.png").write_bytes(png(9)[:100])
    run(workspace, bucket)
    run(workspace, bucket, SCORE)
    again = retry(workspace, bucket, SCORE, codes=frozenset({"CORRUPT"})).counts
    assert (again.failed, again.new_failures) == (1, 0)
    assert statuses(workspace)[0] == ("failed", "CORRUPT")


def test_a_retry_that_was_not_committed_is_joined(workspace, given_up):
    manifest = retry_module.scored_manifest(workspace, str(given_up), "m:1", "m:1")
    plan = runs.make_plan(workspace, retried(SCORE), manifest)
    begun = runs.create_run(workspace, retried(SCORE), plan)
    assert retry(workspace, given_up, SCORE).run_id == begun.run_id


def test_a_retry_and_the_ordinary_run_are_no_ones_of_each_other(workspace, bucket):
    ordinary = runs.create_run(
        workspace, EMBED, runs.make_plan(workspace, EMBED, freeze(workspace, str(bucket)))
    )
    for codes in (retry_module.CODES, frozenset({"CORRUPT"})):
        assert runs.open_run(workspace, retried(EMBED, codes), str(bucket)) is None
    assert runs.open_run(workspace, EMBED, str(bucket)) == plans.read_spec(
        workspace, ordinary.run_id
    )


def test_an_object_that_was_not_there_when_listed_waits_for_a_new_list(workspace, bucket):
    listing = bucket.parent / "list.csv"
    listing.write_text(f"uri\n{bucket}/even/0000.png\n{bucket}/gone.png\n")
    run(workspace, listing)
    assert retry(workspace, listing).run_id is None
    (bucket / "gone.png").write_bytes(png(7))
    assert run(workspace, listing).counts.done == 1


def test_a_source_that_was_never_listed_is_named(workspace, bucket):
    with pytest.raises(ConfigurationError, match=r"has no list of .*run `linnaeus embed` first"):
        retry(workspace, bucket)


def test_a_version_that_did_not_label_the_source_is_named(workspace, bucket):
    run(workspace, bucket)
    with pytest.raises(ConfigurationError, match=r"not those of m:1: run `linnaeus score` first"):
        retry(workspace, bucket, SCORE)
    run(workspace, bucket, SCORE)
    newer = ScoreJob(SPEC.fingerprint, "m", 2, "embedding")
    with pytest.raises(ConfigurationError, match=r"not those of m:2"):
        retry(workspace, bucket, newer)


def test_codes_are_read_as_people_write_them():
    assert retry_module.parse_codes(["timeout", "CORRUPT"]) == {"TIMEOUT", "CORRUPT"}
    assert retry_module.parse_codes([]) == retry_module.CODES
    assert not any(FailureCode(code).permanent for code in retry_module.CODES)
    with pytest.raises(ConfigurationError, match=r"no failure code 'CORUPT'; choose among EMPTY"):
        retry_module.parse_codes(["corupt"])
