"""A source whose images are gone for good has no current labels; what was computed stays."""

import shutil
from dataclasses import replace

import pytest

from linnaeus import Workspace, layout, manifests, runs
from linnaeus.errors import ConfigurationError
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.labels import LabelsTable
from linnaeus.maintenance import forget
from linnaeus.planning import ScoreJob
from linnaeus.progress import SILENT
from linnaeus.records import PREDICTIONS
from linnaeus.tables import Table
from tests.buckets import TestWorker, fill
from tests.pixel_engine import SPEC

SCORE = ScoreJob(SPEC.fingerprint, "m", 1, "embedding")


def executor(workspace):
    return InThisProcess(lambda run: TestWorker(workspace, run))


def score(workspace, bucket, job=SCORE):
    manifest = manifests.freeze(workspace, str(bucket))
    return run_job(workspace, job, manifest, executor(workspace), SILENT)


def labelled(workspace, model="m"):
    return LabelsTable(workspace, model).table.scan().read_all()["uri"].to_pylist()


@pytest.fixture
def bucket(tmp_path):
    return fill(tmp_path / "it's", 4)


@pytest.mark.slow
def test_labels_of_a_forgotten_source_go_and_those_of_others_stay(workspace, bucket, tmp_path):
    other = fill(tmp_path / "other", 3, first=50)
    for job in (SCORE, ScoreJob(SPEC.fingerprint, "n", 1, "embedding")):
        score(workspace, bucket, job)
        score(workspace, other, job)
    shutil.rmtree(bucket)
    assert Workspace(workspace.uri).forget(f"{bucket}/") == {"m": 4, "n": 4}
    for model in ("m", "n"):
        assert len(labelled(workspace, model)) == 3
    assert Table(workspace, layout.predictions("m"), PREDICTIONS).scan().read_all().num_rows == 7
    assert Workspace(workspace.uri).forget(bucket) == {"m": 0, "n": 0}
    newest = manifests.newest(workspace, str(bucket))
    assert (newest.number, newest.objects) == (2, 0)


def test_a_forgotten_source_that_comes_back_is_labelled_without_computing(workspace, bucket):
    score(workspace, bucket)
    forget(workspace, str(bucket))
    again = score(workspace, bucket)
    assert (again.counts.planned, again.counts.skipped) == (0, 4)
    assert len(labelled(workspace)) == 4
    assert score(workspace, bucket).run_id is None


def test_a_run_of_before_brings_no_labels_of_a_forgotten_source_back(workspace, bucket):
    score(workspace, bucket)
    manifest = manifests.freeze(workspace, str(fill(bucket, 2, first=10)))
    begun = runs.create_run(workspace, SCORE, runs.make_plan(workspace, SCORE, manifest))
    executor(workspace).execute(begun)
    forget(workspace, str(bucket))
    runs.commit(workspace, begun.run_id)
    assert labelled(workspace) == []


def test_the_first_run_of_a_model_brings_no_labels_of_a_forgotten_source(workspace, bucket):
    manifest = manifests.freeze(workspace, str(bucket))
    begun = runs.create_run(workspace, SCORE, runs.make_plan(workspace, SCORE, manifest))
    executor(workspace).execute(begun)
    assert forget(workspace, str(bucket)) == {}  # no table of labels is there yet
    assert runs.commit(workspace, begun.run_id).done == 4
    assert labelled(workspace) == []
    score(workspace, bucket)
    assert len(labelled(workspace)) == 4


def test_a_forgotten_source_is_not_missed_by_a_commit_that_makes_the_table(
    workspace, bucket, monkeypatch
):
    """Whether it is forgotten before or after the commit looks for that."""
    for number, name in enumerate(("newest", "create")):
        job = replace(SCORE, model=f"m{number}")
        manifest = manifests.freeze(workspace, str(fill(bucket, 1, first=90 + number)))
        begun = runs.create_run(workspace, job, runs.make_plan(workspace, job, manifest))
        executor(workspace).execute(begun)
        place = {"newest": manifests, "create": Table}[name]
        asked, forgotten = getattr(place, name), []

        def then_forget(*arguments, asked=asked, forgotten=forgotten, model=job.model):
            found = asked(*arguments)
            if not forgotten and workspace.head(f"labels/{model}/_delta_log/{0:020d}.json"):
                forgotten.append(1)
                forget(workspace, str(bucket))
            return found

        monkeypatch.setattr(place, name, then_forget)
        runs.commit(workspace, begun.run_id)
        monkeypatch.setattr(place, name, asked)
        assert (forgotten, labelled(workspace, job.model)) == ([1], [])


def test_a_source_that_was_never_listed_is_refused_with_those_most_alike(workspace, bucket):
    workspace.write("here", b"")
    with pytest.raises(ConfigurationError, match="knows no source /x: it has none yet"):
        forget(workspace, "/x")
    score(workspace, bucket)
    with pytest.raises(ConfigurationError, match=f"knows no source {bucket}x: it has {bucket}$"):
        forget(workspace, f"{bucket}x")
    assert len(labelled(workspace)) == 4
