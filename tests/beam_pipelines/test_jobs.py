"""The embedding job as a program and in pipelines; test_runners.py has both jobs on runners."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from beam_pipelines import embed as embed_job
from beam_pipelines.worker_options import WorkerOptions, open_worker
from linnaeus import backbones, layout, manifests, preparation
from linnaeus.errors import ConfigurationError
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.planning import EmbedJob
from linnaeus.progress import SILENT
from linnaeus.records import OBJECTS, ObjectReference
from linnaeus.storage import Folder
from linnaeus.tables import Table, read_matrix
from tests.buckets import fill

pytestmark = pytest.mark.slow
BACKBONE = "pixels@8"


@pytest.fixture
def bucket(tmp_path):
    folder = fill(tmp_path / "bucket", 30)
    (folder / "even" / "text.png").write_text("no picture")
    return folder


def table(workspace, key, schema):
    return Table(workspace, key, schema).scan().read_all()


def vectors(workspace, fingerprint):
    objects = table(workspace, layout.OBJECTS, OBJECTS).sort_by("uri")
    matrix = read_matrix(workspace, fingerprint, objects["sha256"].to_pylist())
    return objects["uri"].to_pylist(), np.array(matrix)


@pytest.fixture
def plain(prepared, bucket):
    """The rows that the plain function writes, in a workspace of its own."""
    workspace = prepared("plain")
    spec = preparation.prepare(workspace, BACKBONE)
    manifest = manifests.freeze(workspace, str(bucket))

    def worker(run):
        return open_worker(WorkerOptions(workspace.uri, run.run_id))

    run_job(workspace, EmbedJob(spec.fingerprint), manifest, InThisProcess(worker), SILENT)
    return vectors(workspace, spec.fingerprint)


def test_as_a_program_the_job_says_nothing_but_steps_and_a_summary(prepared, bucket):
    workspace = prepared("program")
    options = ["--workspace", workspace.uri, "--images", str(bucket), "--backbone", BACKBONE]
    command = [sys.executable, "-m", "beam_pipelines.embed", *options, "--engine=tensorflow"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(ended.stdout)["counts"]["done"] == 30
    steps = {line.partition(":")[0] for line in ended.stderr.splitlines()}
    assert steps == {"List images", "Prepare backbone", "Embed"}


def test_the_time_that_is_told_is_that_of_listing_and_preparing_too(prepared, bucket):
    began = time.perf_counter()
    summary = embed_job.embed(prepared("timed"), embed_job.EmbedRequest(str(bucket), BACKBONE))
    assert summary.seconds > 0.9 * (time.perf_counter() - began)


def test_a_graph_of_ten_million_objects_stays_far_below_dataflows_limit():
    import apache_beam as beam

    from beam_pipelines.pipeline import define_pipeline

    pipeline = beam.Pipeline(argv=["--runner=FnApiRunner"])
    define_pipeline(pipeline, WorkerOptions("s3://bucket/workspace", "01RUN"), 5_000)
    assert len(pipeline.to_runner_api().SerializeToString()) < 1_000_000


def test_a_pipeline_of_ones_own_gets_rows_and_failures(prepared, bucket, plain):
    import apache_beam as beam
    from apache_beam.testing.test_pipeline import TestPipeline
    from apache_beam.testing.util import assert_that

    from beam_pipelines.transforms import EmbedImages

    workspace = prepared("own")
    fingerprint = preparation.prepare(workspace, BACKBONE).fingerprint
    listed = manifests.load(workspace, manifests.freeze(workspace, str(bucket)).id).to_pylist()
    references = [ObjectReference(row["uri"], row["etag"], row["size"]) for row in listed]
    copy = bucket / "odd" / "copy.png"
    copy.write_bytes((bucket / "odd" / "0001.png").read_bytes())
    references.append(ObjectReference(str(copy), None, 1))
    expected = dict(zip(*plain, strict=True))
    expected[str(copy)] = expected[str(bucket / "odd" / "0001.png")]

    def rows_are_the_plain_ones(rows):
        found = {row["uri"]: row["embedding"] for row in rows}
        assert found.keys() == expected.keys()
        for uri, vector in found.items():
            np.testing.assert_array_equal(vector, expected[uri])

    def one_failure(rows):
        assert [(row["uri"], row["code"]) for row in rows] == [
            (str(bucket / "even" / "text.png"), "NOT_AN_IMAGE")
        ]

    with TestPipeline(runner="FnApiRunner") as pipeline:
        done = pipeline | beam.Create(references) | EmbedImages(workspace.uri, fingerprint)
        assert_that(done.rows, rows_are_the_plain_ones, label="rows")
        assert_that(done.failures, one_failure, label="failures")


def test_the_job_has_a_main_that_passes_unknown_options_to_beam(prepared, bucket, capsys):
    workspace = prepared("main")
    arguments = ["--workspace", workspace.uri, "--images", str(bucket), "--backbone", BACKBONE]
    embed_job.main([*arguments, "--runner=FnApiRunner", "--direct_num_workers=1"])
    assert json.loads(capsys.readouterr().out)["counts"]["done"] == 30


def test_a_backbone_that_the_workspace_lacks_is_named(workspace: Folder):
    with pytest.raises(ConfigurationError, match="f00f00"):
        backbones.load_spec(workspace, "f00f00")
