"""Both jobs on every runner that is not somebody's cloud, held against their plain twins."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable

from beam_pipelines.embed import EmbedRequest, embed
from beam_pipelines.preflight.flink_rest import look_at
from beam_pipelines.preflight.submission import Address
from beam_pipelines.score import ScoreRequest, score
from beam_pipelines.worker_options import WorkerOptions, open_worker
from infra.flink import downloads
from infra.prism import build
from linnaeus import layout, manifests, models, preparation
from linnaeus.jobs import InThisProcess, RunSummary, run_job
from linnaeus.planning import EmbedJob, Job, ScoreJob
from linnaeus.progress import SILENT
from linnaeus.records import FAILURES, OBJECTS
from linnaeus.storage import Folder
from linnaeus.tables import Table, read_matrix
from tests.end_to_end.conftest import BACKBONE, fill, server, trained  # noqa: F401 - fixtures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # where a runner is fetched first
]
PICTURES = 600  # three shards
NEEDED = {"flink": ("java", "mvn"), "session": ("java", "mvn"), "prism": ("go",)}
STARTING = """
import sys, time
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from beam_pipelines.runners.job_servers import stopped_with
from beam_pipelines.runners.downloaded import with_fetched

options = PipelineOptions(with_fetched(sys.argv[1:]))
pipeline = beam.Pipeline(options=options)
with stopped_with(pipeline):
    pipeline.runner.default_job_server(options).start()
    print("started", flush=True)
    time.sleep(600)
"""
END_SECONDS = 60
RUNNERS = {
    "fnapi": ["--runner=FnApiRunner"],
    "processes": ["--direct_num_workers=2", "--direct_running_mode=multi_processing"],
    "prism": ["--runner=PrismRunner"],
    "flink": ["--runner=FlinkRunner", "--parallelism=2"],
}


def skip_without(*programs: str) -> None:
    """Skip where a runner cannot be; not on a CI machine, where it then fails."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"there is no {', '.join(missing)} here to fetch and start the runner with")


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> Iterator[Any]:
    """A Flink session cluster, which runs as long as it is needed."""
    skip_without(*NEEDED["session"])
    from infra.flink.session_cluster import session_cluster

    with session_cluster(tmp_path_factory.mktemp("flink")) as cluster:
        yield cluster


@pytest.fixture(
    params=[
        *("fnapi", "processes", "prism"),
        *(pytest.param(name, marks=pytest.mark.soak) for name in ("flink", "session")),
    ]
)
def beam_options(request) -> list[str]:
    """Options that name a runner, which is fetched and running."""
    runner = request.param
    skip_without(*NEEDED.get(runner, ()))
    if runner == "session":
        return request.getfixturevalue("session").beam_options
    if runner == "flink":
        downloads.job_server()
    if runner == "prism":
        build.prism()
    return RUNNERS[runner]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Path:
    """New pictures in three shards, one file that is none, and one content twice."""
    folder = fill(tmp_path_factory.mktemp("runners") / "bucket", PICTURES // 3, first=7000)
    (folder / "red" / "text.jpg").write_text("no picture")
    shutil.copy(folder / "red" / "7000.jpg", folder / "blue" / "copy.jpg")
    return folder


@dataclass(frozen=True)
class Outcome:
    """What a job left behind, in a form that is equal where it is the same."""

    counts: tuple[int, int, int]
    rows: dict[str, tuple]
    failures: list[tuple]
    commits: dict[str, int]
    """The versions of each table."""


def outcome_of(workspace: Folder, summary: RunSummary, rows: dict[str, tuple]) -> Outcome:
    counts = summary.counts
    failures = Table(workspace, layout.FAILURES, FAILURES).scan().read_all().to_pylist()
    return Outcome(
        (counts.planned, counts.done, counts.failed),
        rows,
        sorted((row["uri"], row["stage"], row["code"]) for row in failures),
        versions(Path(workspace.uri)),
    )


def versions(workspace: Path) -> dict[str, int]:
    tables = {log.parent for log in workspace.glob("**/_delta_log")}
    return {str(one.relative_to(workspace)): DeltaTable(one).version() for one in tables}


def embedded(workspace: Folder) -> dict[str, tuple]:
    """Of each object its vector's bytes and what else is known of it."""
    objects = Table(workspace, layout.OBJECTS, OBJECTS).scan().read_all()
    fingerprint = preparation.prepare(workspace, BACKBONE).fingerprint
    matrix = np.array(read_matrix(workspace, fingerprint, objects["sha256"].to_pylist()))
    known = objects.select(["uri", "sha256", "width", "height", "format"]).to_pylist()
    return {
        row["uri"]: (*row.values(), vector.tobytes())
        for row, vector in zip(known, matrix, strict=True)
    }


def labelled(workspace: Folder) -> dict[str, tuple]:
    rows = DeltaTable(Path(workspace.uri) / "labels/colours").to_pyarrow_table().to_pylist()
    return {row["uri"]: (row["label"], row["confidence"], row["code"]) for row in rows}


@pytest.fixture
def trained_copy(trained, tmp_path) -> Callable[[str], Folder]:  # noqa: F811
    """Makes workspaces in which model `colours` is trained."""

    def make(name: str) -> Folder:
        return Folder(str(shutil.copytree(trained.root, tmp_path / name)))

    return make


def plain(workspace: Folder, job: Job, bucket: Path, server: str = "") -> RunSummary:  # noqa: F811
    """Carry a job out without Beam."""
    manifest = manifests.freeze(workspace, str(bucket))

    def worker(run):
        return open_worker(WorkerOptions(workspace.uri, run.run_id, server=server))

    return run_job(workspace, job, manifest, InThisProcess(worker), SILENT)


@pytest.fixture
def counted(monkeypatch) -> dict[str, int]:
    """Beam's counters and its distributions' counts, seen while the job server still runs."""
    from beam_pipelines.runners.job_servers import stopped_with

    seen: dict[str, int] = {}

    @contextmanager
    def watched(pipeline):
        with stopped_with(pipeline):
            yield
            found = pipeline.result.metrics().query()
            for metric in (*found["counters"], *found["distributions"]):
                value = metric.attempted if metric.committed is None else metric.committed
                seen[metric.key.metric.name] = getattr(value, "count", value)

    monkeypatch.setattr("beam_pipelines.pipeline.stopped_with", watched)
    return seen


def test_an_embedding_job_leaves_what_the_plain_function_leaves(
    trained_copy, bucket, beam_options, counted
):
    alone, workspace = trained_copy("alone"), trained_copy("beam")
    fingerprint = preparation.prepare(alone, BACKBONE).fingerprint
    expected_summary = plain(alone, EmbedJob(fingerprint), bucket)
    request = EmbedRequest(str(bucket), BACKBONE, beam_options=beam_options)
    summary = embed(workspace, request)
    outcome = outcome_of(workspace, summary, embedded(workspace))
    assert outcome == outcome_of(alone, expected_summary, embedded(alone))
    assert outcome.counts == (PICTURES + 2, PICTURES + 1, 1)
    before = versions(Path(trained_copy("before").uri))
    commits = {name: version - before.get(name, -1) for name, version in outcome.commits.items()}
    tables = ("objects", f"embeddings/{fingerprint}", "failures")
    assert {commits.pop(name) for name in tables} == {1}
    assert set(commits.values()) <= {0}
    assert embed(workspace, request).run_id is None
    assert versions(Path(workspace.uri)) == outcome.commits
    assert counted["objects"] == PICTURES + 2
    assert counted["failed_NOT_AN_IMAGE"] == 1
    assert counted["bytes"] == sum(path.stat().st_size for path in bucket.rglob("*.jpg"))
    assert counted["read_msec"] == counted["decode_msec"] == counted["inference_msec"] == 3


def test_a_scoring_job_leaves_what_the_plain_function_leaves(
    trained_copy,
    bucket,
    beam_options,
    server,  # noqa: F811
):
    alone, workspace = trained_copy("alone"), trained_copy("beam")
    model = models.load_model(alone, "colours")
    job = ScoreJob(model.fingerprint, model.name, model.version, "embedding", model.task)
    expected_summary = plain(alone, job, bucket, server)
    request = ScoreRequest(str(bucket), "colours", server, beam_options=beam_options)
    summary = score(workspace, request)
    outcome = outcome_of(workspace, summary, labelled(workspace))
    assert outcome == outcome_of(alone, expected_summary, labelled(alone))
    assert outcome.counts == (PICTURES + 2, PICTURES + 1, 1)
    assert score(workspace, request).run_id is None
    assert versions(Path(workspace.uri)) == outcome.commits


@pytest.mark.parametrize("runner", ["flink", "prism"])
def test_a_job_server_ends_with_its_launcher_that_is_killed(runner):
    skip_without(*NEEDED[runner])
    {"flink": downloads.job_server, "prism": build.prism}[runner]()
    command = [sys.executable, "-c", STARTING, *RUNNERS[runner]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout.readline() == "started\n"
        [job_server] = children(launcher.pid)
        launcher.kill()
    deadline = time.monotonic() + END_SECONDS
    while is_running(job_server):
        assert time.monotonic() < deadline, job_server
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.soak
def test_the_session_cluster_is_read_as_its_stand_in_is(session):
    seen, problem = look_at(Address.parse(session.rest))
    assert problem == ""
    assert seen.version.count(".") == 2
    assert seen.slots > 0
    assert all(one.network_buffers > 0 for one in seen.task_managers)
