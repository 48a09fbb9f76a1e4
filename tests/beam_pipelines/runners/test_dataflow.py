"""Dataflow's jobs without Dataflow: their graphs, and what a launched template would do."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from beam_pipelines import embed as embed_job
from beam_pipelines import run_shards
from beam_pipelines import score as score_job
from beam_pipelines.runners import dataflow
from beam_pipelines.runners.options import check_beam_options, launcher_leaves
from beam_pipelines.worker_options import WorkerOptions
from linnaeus import layout, manifests, preparation
from linnaeus.errors import LinnaeusError
from linnaeus.jobs import commit_plan, frozen_runs
from linnaeus.labels import LabelsTable
from linnaeus.labels.files import SUCCESS
from linnaeus.planning import EmbedJob, RunSpec
from linnaeus.progress import SILENT
from linnaeus.records import OBJECTS
from linnaeus.storage import Folder
from linnaeus.tables import Table
from linnaeus.training.evaluation.decisions import DecisionRule
from tests import colour_model
from tests.buckets import fill
from tests.gcs import gcs_in_front_of
from tests.servers import served

if TYPE_CHECKING:
    from apache_beam.portability.api import beam_runner_api_pb2
    from google.cloud import dataflow_v1beta3

pytestmark = pytest.mark.slow
RUN = "01J8ZQ4X9V7E3N5T6R8W2Y1ABC"
IMAGE = "europe-docker.pkg.dev/project/images/linnaeus-worker:1"
ASKED = [
    "--runner=DataflowRunner",
    "--project=my-project",
    "--region=europe-west1",
    "--temp_location=gs://my-bucket/temp",
    "--staging_location=gs://my-bucket/staging",
    "--no_auth",
    f"--sdk_container_image={IMAGE}",
]
GPU = "type:nvidia-l4;count:1;install-nvidia-driver"


def dry_run(options: WorkerOptions, shards: int, *more: str) -> beam_runner_api_pb2.Pipeline:
    """The graph that would be submitted."""
    from beam_pipelines.commit_step import Ending
    from beam_pipelines.pipeline import run_pipeline

    argv = dataflow.with_defaults([*ASKED, "--dry_run=True", *more], options.run_id)
    result = run_pipeline(options, shards, argv, Ending(options.workspace, options.run_id))
    return result.job.proto_pipeline


@pytest.fixture(params=["embed", "score"])
def options(request) -> WorkerOptions:
    server = "models.internal:8500" if request.param == "score" else ""
    return WorkerOptions("gs://my-bucket/workspace", RUN, server=server)


def steps(graph: beam_runner_api_pb2.Pipeline) -> set[str]:
    names = [one.unique_name for one in graph.components.transforms.values()]
    return {name.partition("/")[0] for name in names if not name.startswith("ref_")} - {""}


def environment_of(graph: beam_runner_api_pb2.Pipeline, step: str):
    [found] = [t for t in graph.components.transforms.values() if t.unique_name == step]
    return graph.components.environments[found.environment_id]


def test_a_job_lists_spreads_and_does_shards_and_commits_last(options):
    assert steps(dry_run(options, 40)) == {
        "List shards",
        "Spread shards",
        "Do shards",
        "Commit run",
    }


def test_workers_run_the_image_and_nothing_of_the_launchers(options, monkeypatch):
    from apache_beam.portability import common_urns
    from apache_beam.portability.api import beam_runner_api_pb2

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-launcher")
    graph = dry_run(options, 40)
    for environment in graph.components.environments.values():
        assert environment.urn == common_urns.environments.DOCKER.urn
        payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        assert payload.container_image == IMAGE
        assert not environment.dependencies
    text = str(graph)
    assert "a-secret-of-the-launcher" not in text
    for path in (str(Path.home()), str(Path.cwd())):
        assert len(path) < 4 or path not in text  # "/" is in any graph


def test_only_the_step_that_does_shards_asks_for_memory_and_a_graphics_card(options):
    graph = dry_run(options, 40, "--min_ram=16GB", f"--accelerator={GPU}")
    shards = environment_of(graph, "Do shards").resource_hints
    assert shards["beam:resources:accelerator:v1"] == GPU.encode()
    assert shards["beam:resources:min_ram_bytes:v1"] == b"16000000000"
    assert not environment_of(graph, "Commit run/Commit").resource_hints


def test_a_graph_of_ten_million_objects_is_a_hundredth_of_what_dataflow_takes(options):
    assert dry_run(options, 5_000).ByteSize() < 100_000


def experiments(arguments: list[str]) -> set[str]:
    return {one.partition("=")[2] for one in arguments if one.startswith("--experiments")}


def test_a_machine_has_one_copy_of_the_network_unless_told_otherwise():
    argv = dataflow.with_defaults(ASKED, RUN)
    check_beam_options(argv)
    assert "no_use_multiple_sdk_containers" in experiments(argv)
    assert f"--number_of_worker_harness_threads={dataflow.HARNESS_THREADS}" in argv
    assert f"--job_name=linnaeus-{RUN.lower()}" in argv
    assert "--sdk_location=container" in argv
    own = [*ASKED, "--number_of_worker_harness_threads=7", "--job_name=mine"]
    kept = [
        one for one in dataflow.with_defaults(own, RUN) if "threads" in one or "job_name" in one
    ]
    assert kept == own[-2:]


def test_a_person_is_told_the_jobs_name_and_the_page_of_the_projects_jobs():
    said = dataflow.note(ASKED, RUN)
    assert said.startswith(f"job linnaeus-{RUN.lower()}, https://")
    assert said.endswith("project=my-project")


def test_options_of_other_runners_stay_as_they_are():
    argv = ["--runner=FlinkRunner", "--parallelism=2"]
    assert dataflow.with_defaults(argv, RUN) == argv


@pytest.mark.parametrize(
    ("option", "leaves"),
    [
        ("--template_location=gs://b/t", True),
        ("--dry_run=True", True),
        ("--no_wait_until_finish", True),
        ("--job_name=x", False),
    ],
)
def test_a_launcher_leaves_templates_dry_runs_and_whom_it_is_told_to(option, leaves):
    assert launcher_leaves([*ASKED, option]) is leaves


def already_exists() -> Exception:
    from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError

    return DataflowJobAlreadyExistsError("There is already active job named x")


def ended_badly() -> Exception:
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException

    return DataflowRuntimeException("Dataflow pipeline failed. State: FAILED, Error:\nworker", None)


def no_permission() -> Exception:
    from google.api_core.exceptions import Forbidden

    return Forbidden("no permission")


def no_credentials() -> Exception:
    from google.auth.exceptions import DefaultCredentialsError

    return DefaultCredentialsError("none found")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (already_exists, f"{RUN} is under way as Dataflow job linnaeus-{RUN.lower()}"),
        (ended_badly, f"job of run {RUN} did not end well: .* worker; run the same command"),
        (no_permission, f"Google refused run {RUN}: 403 no permission; .* preflight"),
        (no_credentials, f"Google refused run {RUN}: none found"),
    ],
)
def test_what_google_says_is_said_in_one_line_with_what_to_do(make, words):
    trouble = make()
    with pytest.raises(LinnaeusError, match=words) as said, dataflow.troubles_in_words(RUN):
        raise trouble
    assert "\n" not in str(said.value)
    assert said.value.__cause__ is trouble


def test_what_has_nothing_to_do_with_google_stays_as_it_is():
    with pytest.raises(ZeroDivisionError), dataflow.troubles_in_words(RUN):
        raise ZeroDivisionError


class Bucket:
    """A bucket behind `gs://` and, to look at it, behind `s3://`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.gs = Folder(f"gs://{name}/workspace")
        self.images = Folder(f"gs://{name}/images")


@pytest.fixture
def bucket(s3, monkeypatch, tmp_path):
    with gcs_in_front_of(s3.environment) as settings:
        for name in s3.environment:
            monkeypatch.delenv(name)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield Bucket(s3.bucket().removeprefix("s3://"))


@pytest.fixture
def staged(monkeypatch) -> dict[str, bytes]:
    """What is staged, by name: the one thing that needs Google."""
    files: dict[str, bytes] = {}

    def stage(self, folder, name, stream, mime_type=None, total_size=None):
        files[name] = stream.read()

    from apache_beam.options.pipeline_options import GoogleCloudOptions
    from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient

    monkeypatch.setattr(DataflowApplicationClient, "stage_file_with_retry", stage)
    monkeypatch.setattr(GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda *_: None)
    return files


def launch(main, staged: dict[str, bytes], *arguments: str) -> dataflow_v1beta3.types.Job:
    """What the template's launcher does; the job that it describes, read strictly."""
    from google.cloud import dataflow_v1beta3

    main([*arguments, *ASKED, "--template_location=gs://my-bucket/launched/job.json"])
    return dataflow_v1beta3.types.Job.from_json(staged["job.json"], ignore_unknown_fields=False)


def run_staged(staged: dict[str, bytes]) -> None:
    """Do here what Dataflow would do with the pipeline that was staged."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability import python_urns
    from apache_beam.portability.api import beam_runner_api_pb2
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    graph = beam_runner_api_pb2.Pipeline.FromString(staged["pipeline.pb"])
    for environment in graph.components.environments.values():
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
        environment.ClearField("resource_hints")
    result = FnApiRunner().run_via_runner_api(graph, PipelineOptions(["--runner=FnApiRunner"]))
    result.wait_until_finish()


def test_an_embed_template_describes_a_job_that_embeds_and_commits(
    bucket, staged, tmp_path, capsys
):
    bucket.images.upload(fill(tmp_path / "bucket", 12), "")
    arguments = [f"--workspace={bucket.gs.uri}", f"--images={bucket.images.uri}"]
    job = launch(embed_job.main, staged, *arguments, f"--backbone={colour_model.BACKBONE}")
    said = json.loads(capsys.readouterr().out)
    assert (said["committed"], said["counts"]["planned"]) == (False, 12)
    assert bucket.gs.head(layout.summary(said["run_id"])) is None
    assert job.name == dataflow.job_name(said["run_id"])
    assert [pool.num_threads_per_worker for pool in job.environment.worker_pools] == [2]
    assert not [p for pool in job.environment.worker_pools for p in pool.packages]
    run_staged(staged)
    counts = json.loads(bucket.gs.read(layout.summary(said["run_id"])))["counts"]
    assert (counts["done"], counts["failed"]) == (12, 0)
    assert Table(bucket.gs, layout.OBJECTS, OBJECTS).scan().read_all().num_rows == 12


def test_a_template_for_the_shards_of_a_frozen_run_commits_nothing(
    bucket, staged, tmp_path, capsys
):
    bucket.images.upload(fill(tmp_path / "bucket", 12), "")
    manifest = manifests.freeze(bucket.gs, bucket.images.uri)
    spec = preparation.prepare(bucket.gs, colour_model.BACKBONE, "float32")
    frozen = frozen_runs.freeze_run(bucket.gs, EmbedJob(spec.fingerprint), manifest, "night")
    job = launch(run_shards.main, staged, f"--workspace={bucket.gs.uri}", "--plan=night")
    assert job.name == dataflow.job_name(frozen.run_id)
    assert json.loads(capsys.readouterr().out)["plan"] == "night"
    run_staged(staged)
    assert not frozen_runs.is_over(bucket.gs, frozen)
    assert commit_plan(bucket.gs, frozen).counts.done == 12


@pytest.mark.parametrize(("gate", "commits"), [(None, True), (lambda _: None, False)])
def test_a_pipeline_on_dataflow_leaves_the_commit_to_a_gate(gate, commits, monkeypatch, workspace):
    endings = []
    monkeypatch.setattr(
        "beam_pipelines.pipeline.run_pipeline", lambda *asked: endings.append(asked[-1])
    )
    request = score_job.ScoreRequest("images", "model", "server:8500", beam_options=ASKED)
    reached = SimpleNamespace(workspace=workspace, progress=SILENT, address="server:8500")
    run = RunSpec(RUN, "score", "source", "manifest", "fingerprint", "model", 1, shard_sizes=(3,))
    score_job.executor_of(request, reached, gate).execute(run)
    assert [ending is not None for ending in endings] == [commits]


def test_a_template_launched_where_nothing_is_new_still_describes_a_job(
    bucket, staged, tmp_path, capsys
):
    bucket.images.upload(fill(tmp_path / "bucket", 3), "")
    arguments = [f"--workspace={bucket.gs.uri}", f"--images={bucket.images.uri}"]
    arguments.append(f"--backbone={colour_model.BACKBONE}")
    launch(embed_job.main, staged, *arguments)
    run_staged(staged)
    staged.clear()
    launch(embed_job.main, staged, *arguments)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["counts"]["planned"], said["counts"]["skipped"]) == (0, 3)
    run_staged(staged)
    assert bucket.gs.head(layout.summary(said["run_id"]))


def test_a_run_that_was_handed_over_and_lost_is_handed_over_again(bucket, staged, tmp_path, capsys):
    bucket.images.upload(fill(tmp_path / "bucket", 3), "")
    arguments = [f"--workspace={bucket.gs.uri}", f"--images={bucket.images.uri}"]
    arguments.append(f"--backbone={colour_model.BACKBONE}")
    names = [launch(embed_job.main, staged, *arguments).name for _ in range(2)]
    assert names[0] == names[1]


def test_a_score_template_describes_a_job_that_labels_commits_and_writes_files(
    bucket, staged, tmp_path, capsys
):
    painted = colour_model.paint(tmp_path / "bucket")
    bucket.images.upload(tmp_path / "bucket", "")
    output = Folder(f"gs://{bucket.name}/labels")
    local = Folder(str(tmp_path / "served"))
    colour_model.publish(local, DecisionRule(colour_model.LABELS))
    bucket.gs.upload(tmp_path / "served", "")
    with served(local.uri, colour_model.NAME, 1) as address:
        server = f"ipv4:{address}"  # as plain HOST:PORT the preflight refuses it, and rightly
        arguments = [f"--workspace={bucket.gs.uri}", f"--images={bucket.images.uri}"]
        arguments += [f"--model={colour_model.NAME}", f"--server={server}", "--skew_gate=true"]
        arguments += [f"--output={output.uri}", "--format=jsonl"]
        launch(score_job.main, staged, *arguments)
        said = json.loads(capsys.readouterr().out)
        assert (said["committed"], said["output"]) == (False, output.uri)
        run_staged(staged)
    labels = LabelsTable(bucket.gs, colour_model.NAME).table.scan().read_all().to_pylist()
    found = {row["uri"].rpartition("/")[2]: row["label"] for row in labels}
    assert found.keys() == {Path(path).name for path in painted}
    assert found["red.png"] == "red"
    written = json.loads(output.read(SUCCESS))
    assert (written["rows"], written["counts"]["done"]) == (len(painted), len(painted))


def test_a_dry_run_keeps_the_graph_beside_the_plan(bucket, tmp_path, capsys):
    bucket.images.upload(fill(tmp_path / "bucket", 3), "")
    arguments = [f"--workspace={bucket.gs.uri}", f"--images={bucket.images.uri}"]
    arguments += [f"--backbone={colour_model.BACKBONE}", *ASKED, "--dry_run=True"]
    embed_job.main(arguments)
    said = json.loads(capsys.readouterr().out)
    graph = json.loads(bucket.gs.read(layout.graph(said["run_id"])))
    names = {one["uniqueName"] for one in graph["components"]["transforms"].values()}
    assert "Do shards" in names


def test_a_pipeline_whose_launcher_does_not_wait_commits_on_any_runner(prepared, tmp_path):
    workspace = prepared("left")
    bucket = fill(tmp_path / "bucket", 5)
    request = embed_job.EmbedRequest(
        str(bucket), colour_model.BACKBONE, beam_options=["--no_wait_until_finish"]
    )
    summary = embed_job.embed(workspace, request)
    assert not summary.committed
    assert json.loads(workspace.read(layout.summary(summary.run_id)))["counts"]["done"] == 5
