"""A scoring run tells which labels it changed, against the run before it."""

import pyarrow.parquet as pq
import pytest

from linnaeus import layout, manifests, runs
from linnaeus.errors import GateFailed
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.labels import Churn, LabelsTable
from linnaeus.labels.churn import of_run
from linnaeus.planning import ScoreJob, plans
from linnaeus.progress import SILENT
from linnaeus.records import CHANGES, Prediction
from linnaeus.report import changes
from tests.buckets import BrightnessScorer, TestWorker, fill, png
from tests.pixel_engine import SPEC


@pytest.fixture
def bucket(tmp_path):
    return fill(tmp_path / "bucket", 20)


class Contrary(BrightnessScorer):
    """Turns every answer round whose vector begins below `below`."""

    def __init__(self, below):
        super().__init__()
        self._below = below

    def score(self, model, version, signature, rows):
        rows = list(rows)
        firsts = {key: float(vector[0]) for key, vector in rows}
        for key, said in super().score(model, version, signature, rows):
            if firsts[key] < self._below:
                names = said.top_labels[::-1]
                yield key, Prediction(names[0], firsts[key], names[:1], names, said.top_scores)
            else:
                yield key, said


def score(workspace, bucket, version, below=0.0, gate=None):
    def open_worker(spec):
        worker = TestWorker(workspace, spec)
        worker.__dict__["_scorer"] = Contrary(below)
        return worker

    job = ScoreJob(SPEC.fingerprint, "m", version, "embedding")
    manifest = manifests.freeze(workspace, str(bucket))
    return run_job(workspace, job, manifest, InThisProcess(open_worker), SILENT, gate)


def labels(workspace):
    rows = LabelsTable(workspace, "m").table.scan().read_all().to_pylist()
    return {row["uri"]: row for row in rows}


def recorded(workspace, run_id):
    with workspace.open(layout.changes(run_id)) as file:
        return pq.read_table(file)


def test_the_first_run_has_nothing_to_compare_with(workspace, bucket):
    counts = score(workspace, bucket, 1).counts
    assert (counts.compared, counts.changed) == (0, 0)


def test_a_new_version_counts_and_keeps_what_it_changes(workspace, bucket):
    score(workspace, bucket, 1)
    before = labels(workspace)
    second = score(workspace, bucket, 2, below=0.5)
    now = labels(workspace)
    changed = {uri for uri in now if now[uri]["label"] != before[uri]["label"]}
    assert 0 < len(changed) < 20
    assert (second.counts.compared, second.counts.changed) == (20, len(changed))
    table = recorded(workspace, second.run_id)
    assert table.schema.equals(CHANGES, check_metadata=False)
    assert {row["uri"] for row in table.to_pylist()} == changed
    for row in table.to_pylist():
        assert row["was"] == before[row["uri"]]["labels"]
        assert row["was_confidence"] == before[row["uri"]]["confidence"]
        assert (row["was_version"], row["labels"]) == (1, now[row["uri"]]["labels"])


def test_a_version_that_says_the_same_changes_nothing(workspace, bucket):
    score(workspace, bucket, 1)
    counts = score(workspace, bucket, 2).counts
    assert (counts.compared, counts.changed) == (20, 0)


def test_what_was_not_labelled_anew_is_not_compared(workspace, bucket):
    score(workspace, bucket, 1)
    fill(bucket, 3, first=20)
    (bucket / "even" / "0000.png").write_bytes(png(900))
    counts = score(workspace, bucket, 1).counts
    assert (counts.done, counts.compared) == (4, 0)


def test_going_back_to_an_older_version_is_a_change_too(workspace, bucket):
    score(workspace, bucket, 1)
    forth = score(workspace, bucket, 2, below=0.5).counts.changed
    back = score(workspace, bucket, 1).counts
    assert (back.planned, back.compared, back.changed) == (0, 20, forth)


def test_a_commit_that_is_repeated_still_knows_the_changes(workspace, bucket):
    score(workspace, bucket, 1)
    second = score(workspace, bucket, 2, below=0.5)
    workspace.delete(layout.summary(second.run_id))
    assert runs.commit(workspace, second.run_id).changed == second.counts.changed > 0


def test_a_gate_judges_again_where_other_labels_came_while_it_judged(workspace, bucket):
    score(workspace, bucket, 1)
    judged = []

    def gate(run_id, counts):
        judged.append(counts.changed)
        if len(judged) == 1:  # an ungated run that ends at this very moment
            score(workspace, bucket, 3, below=0.5)

    last = score(workspace, bucket, 2, gate=gate)
    assert judged[0] == 0 < judged[1] == last.counts.changed
    assert {row["model_version"] for row in labels(workspace).values()} == {2}


def test_what_a_gate_refuses_replaces_no_labels_by_any_other_commit(workspace, bucket):
    score(workspace, bucket, 1)
    before, ids, tables = labels(workspace), [], LabelsTable(workspace, "m")

    def gate(run_id, counts):
        ids.append(run_id)
        raise GateFailed("no")

    with pytest.raises(GateFailed):
        score(workspace, bucket, 2, below=0.5, gate=gate)
    run = plans.read_spec(workspace, ids[0])
    manifest = manifests.describe(workspace, run.manifest_id)
    with manifests.local_file(workspace, run.manifest_id) as listed:
        tables.replace(manifest, listed, run)  # as a commit that had begun before
    assert labels(workspace) == before


def test_the_report_lists_changes_by_kind_and_the_surest_ones(workspace, bucket):
    score(workspace, bucket, 1)
    second = score(workspace, bucket, 2, below=0.6)
    found = changes.of_run(workspace, second.run_id)
    rows = recorded(workspace, second.run_id).to_pylist()
    assert found.churn == Churn(20, len(rows)) == of_run(workspace, second.run_id)
    kinds = {}
    for row in rows:
        kind = (row["was"][0], row["labels"][0])
        kinds[kind] = kinds.get(kind, 0) + 1
    assert {(was, now): count for was, now, count in found.pairs} == kinds
    sureness = [one.confidence for one in found.most_confident]
    assert sureness == sorted((row["confidence"] for row in rows), reverse=True)
