"""Each check: what it finds, and what it lets pass."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipelines import preflight
from beam_pipelines.preflight.facts import Facts
from beam_pipelines.preflight.flink_rest import FlinkCluster, TaskManager
from beam_pipelines.preflight.portable_checks import buffers_needed
from beam_pipelines.preflight.submission import Address, Submission, target_of
from linnaeus.planning import EmbedJob, ScoreJob

SUBMISSION = Submission(EmbedJob, "s3://bucket/workspace", "s3://photos/2024")
FLINK = ("--runner=FlinkRunner", "--flink_version=1.19", "--parallelism=4")
NEAR = ("--flink_master=localhost:8081",)
FAR = ("--flink_master=jobmanager.internal:8081",)
POOL = ("--environment_type=EXTERNAL", "--environment_config=localhost:50000")
JOB_SERVER = ("--runner=PortableRunner", "--parallelism=4", "--job_endpoint=jobs.internal:8099")
DATAFLOW = (
    "--runner=DataflowRunner",
    "--project=p",
    "--region=europe-west1",
    "--temp_location=gs://bucket/temp",
    "--sdk_container_image=gcr.io/p/worker:1",
)
LOCALS = [
    (),
    ("--runner=FnApiRunner",),
    ("--runner=DirectRunner",),
    ("--runner=PrismRunner",),
    FLINK,
    (*FLINK, *NEAR, *POOL),
    (*JOB_SERVER[:2], "--job_endpoint=localhost:8099", *POOL),
    (*FLINK, *FAR, "--environment_type=LOOPBACK", "--artifacts_dir=gs://bucket/artifacts"),
]
REMOTES = [
    DATAFLOW,
    (*JOB_SERVER, *POOL),
    (*FLINK, *FAR, *POOL, "--flink_submit_uber_jar"),
    (*FLINK, *NEAR, "--environment_type=DOCKER", "--environment_config=registry/worker:1"),
]


def facts(*options: str, submission: Submission = SUBMISSION, **seen) -> Facts:
    asked = replace(submission, beam_options=options)
    return Facts(asked, target_of(asked), **seen)


def found(*options: str, **seen) -> dict[str, str]:
    """From the names of the checks that find something to the remedies."""
    return {one.check: one.remedy for one in preflight.check(facts(*options, **seen))}


@pytest.mark.parametrize("options", [*LOCALS, *REMOTES])
def test_what_is_in_order_passes(options):
    assert found(*options) == {}


@pytest.mark.parametrize("options", REMOTES)
@pytest.mark.parametrize("name", ["workspace", "images", "output"])
def test_a_path_is_nothing_to_workers_elsewhere(options, name):
    submission = replace(SUBMISSION, **{name: "/data"})
    assert list(found(*options, submission=submission)) == [f"{name}_visible"]


@pytest.mark.parametrize("options", LOCALS)
def test_a_path_is_the_same_to_workers_on_this_machine(options):
    assert found(*options, submission=Submission(EmbedJob, "/workspace", "/photos")) == {}


@pytest.mark.parametrize("endpoint", ["http://localhost:9000", "http://127.0.0.1:9000"])
@pytest.mark.parametrize("options", REMOTES)
def test_a_store_on_the_loopback_address_is_nothing_to_workers_elsewhere(options, endpoint):
    assert "endpoint_visible" in found(*options, settings={"AWS_ENDPOINT_URL": endpoint})


def test_a_store_that_others_reach_passes_but_its_setting_must_be_theirs_too():
    seen = preflight.check(facts(*DATAFLOW, settings={"AWS_ENDPOINT_URL": "http://minio:9000"}))
    assert [(one.check, one.fatal) for one in seen] == [("settings_reach_workers", False)]


def test_settings_of_a_store_that_the_job_does_not_use_do_not_matter():
    assert found(*DATAFLOW, settings={"AZURE_STORAGE_ACCOUNT_NAME": "x"}) == {}
    assert found(*FLINK, settings={"AWS_ACCESS_KEY_ID": "x"}) == {}


SCORE = replace(SUBMISSION, job=ScoreJob)


@pytest.mark.parametrize("options", REMOTES)
@pytest.mark.parametrize("server", [None, "localhost:8500", "127.0.0.1:8500", "[::1]:8500"])
def test_workers_elsewhere_reach_no_server_of_this_machine(options, server):
    submission = replace(SCORE, server=server)
    assert list(found(*options, submission=submission)) == ["server_visible"]


@pytest.mark.parametrize("server", ["models.internal:8500", "grpcs://models.internal:443"])
def test_a_server_with_an_address_of_its_own_passes_if_it_answers(server):
    submission = replace(SCORE, server=server)
    assert found(*DATAFLOW, submission=submission) == {}
    silent = {Address.parse(server): "Connection refused"}
    assert list(found(*DATAFLOW, submission=submission, unreachable=silent)) == ["server_answers"]


@pytest.mark.parametrize("options", LOCALS)
def test_workers_on_this_machine_need_no_server(options):
    assert found(*options, submission=SCORE) == {}


def test_parallelism_of_one_is_told_and_not_fatal():
    [one] = preflight.check(facts("--runner=FlinkRunner", "--parallelism=1"))
    assert (one.check, one.fatal) == ("parallelism", False)


def test_flink_in_this_process_has_a_parallelism_unless_told_otherwise():
    assert preflight.check(facts("--runner=FlinkRunner")) == []


@pytest.mark.parametrize("runner", ["FlinkRunner", "PrismRunner"])
def test_a_launcher_whose_process_runs_the_workers_may_not_leave(runner):
    leaving = facts(f"--runner={runner}", "--no_wait_until_finish")
    assert [one.check for one in preflight.check(leaving) if one.fatal] == ["launcher_leaves"]


def test_the_options_of_the_compose_file_pass_though_nobody_reaches_its_pool():
    text = (Path(__file__).parents[3] / "infra/flink/compose.yaml").read_text()
    options = re.findall(r"--(?!detach|wait|workspace)\S+", text.partition("name:")[0])
    silent = {Address("localhost", 50000): "Connection refused"}
    remote = replace(SUBMISSION, workspace="s3://b/w", images="s3://b/i")
    found = preflight.check(facts(*options, submission=remote, unreachable=silent))
    assert [one.check for one in found if one.fatal] == []


def test_a_job_server_that_does_not_answer_is_found():
    silent = {Address("jobs.internal", 8099): "timed out"}
    assert list(found(*JOB_SERVER, *POOL, unreachable=silent)) == ["job_server"]
    assert "job_server" in found("--runner=PortableRunner")


def test_a_worker_pool_that_does_not_answer_is_found():
    silent = {Address("localhost", 50000): "Connection refused"}
    assert list(found(*FLINK, *NEAR, *POOL, unreachable=silent)) == ["worker_pool"]
    assert "worker_pool" in found(*FLINK, *NEAR, "--environment_type=EXTERNAL")


def test_a_worker_pool_beside_each_task_manager_cannot_be_reached_from_here():
    silent = {Address("localhost", 50000): "Connection refused"}
    assert found(*JOB_SERVER, *POOL, unreachable=silent) == {}


@pytest.mark.parametrize("options", [(*FLINK, *NEAR), (*FLINK, *FAR), JOB_SERVER])
def test_beams_own_image_has_no_linnaeus(options):
    assert "worker_image" in found(*options)
    image = "--environment_options=docker_container_image=registry/worker:1"
    assert "worker_image" not in found(*options, image)


def test_an_artifact_folder_must_exist_and_be_the_task_managers_too():
    own = (*FLINK, *FAR, *POOL)
    missing = found(*own, "--artifacts_dir=/no/such", artifacts_dir_exists=False)
    assert "make it" in missing["artifacts"]
    assert "mount" in found(*own, "--artifacts_dir=/shared")["artifacts"]
    assert "artifacts" in found(*own)
    assert found(*own, "--artifacts_dir=gs://bucket/artifacts") == {}


JAR = "--flink_job_server_jar=/jars/beam-runners-flink-{}-job-server-{}.jar"


def test_the_jar_must_be_for_the_sdks_beam_and_the_flink_that_is_asked_for():
    from apache_beam.version import __version__ as sdk

    assert found(*FLINK, JAR.format("1.19", sdk)) == {}
    assert list(found(*FLINK, JAR.format("1.19", "2.61.0"))) == ["beam_version"]
    assert list(found(*FLINK, JAR.format("1.20", sdk))) == ["flink_version"]
    assert found(*FLINK, "--flink_job_server_jar=/jars/own.jar") == {}


def cluster(version: str = "1.19.3", slots: int = 2, buffers: int = 2048, machines: int = 2):
    return FlinkCluster(version, (TaskManager(slots, buffers),) * machines)


def test_the_cluster_must_be_the_flink_that_the_job_server_is_for():
    own = (*FLINK, *NEAR, *POOL)
    assert found(*own, cluster=cluster()) == {}
    remedies = found(*own, cluster=cluster("1.20.1"))
    assert remedies == {"flink_version": "--flink_version=1.20 and its job server"}
    assert found(*own, cluster=cluster("1.190.1")).keys() == {"flink_version"}


def test_more_parallelism_than_slots_is_found():
    own = (*FLINK[:2], *NEAR, *POOL, "--parallelism=5")
    assert found(*own, cluster=cluster()).keys() == {"slots"}


def test_too_few_network_buffers_are_found_with_the_memory_that_is_needed():
    own = (*FLINK[:2], *NEAR, *POOL, "--parallelism=64")
    seen = cluster(slots=32, buffers=2048)
    [(check, remedy)] = found(*own, cluster=seen).items()
    assert check == "network_buffers"
    assert "256m" in remedy  # 32 x 64 x 4 segments of 32 KiB
    assert found(*own, cluster=cluster(slots=32, buffers=8192)) == {}


def test_a_cluster_that_does_not_answer_is_found():
    assert found(*FLINK, *NEAR, *POOL, cluster_problem="refused").keys() == {"cluster"}


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_job_that_takes_all_slots_needs_what_flinks_rule_says(slots, machines):
    assert buffers_needed(slots, slots * machines) == slots**2 * machines * 4


@given(st.integers(1, 64), st.integers(1, 500), st.integers(1, 500))
def test_more_parallelism_needs_no_fewer_buffers(slots, one, other):
    less, more = sorted((one, other))
    assert buffers_needed(slots, less) <= buffers_needed(slots, more)


@pytest.mark.parametrize("name", ["project", "region", "temp_location", "sdk_container_image"])
def test_what_dataflow_is_not_told_is_found_with_its_option(name):
    left = [one for one in DATAFLOW if not one.startswith(f"--{name}=")]
    [remedy] = found(*left).values()
    assert f"--{name}" in remedy


def test_a_region_of_gcloud_and_a_staging_location_do_as_well():
    left = [one for one in DATAFLOW if "region" not in one and "temp" not in one]
    left.append("--staging_location=gs://bucket/staging")
    assert found(*left, settings={"CLOUDSDK_COMPUTE_REGION": "europe-west1"}) == {}


def test_dataflow_needs_googles_client_and_credentials_and_a_bucket_of_its_own():
    assert found(*DATAFLOW, google_client=False).keys() == {"google_client"}
    assert found(*DATAFLOW, google_problem="none found").keys() == {"google_credentials"}
    assert found(*DATAFLOW, "--temp_location=s3://bucket/temp").keys() == {"temp_location"}
    assert found(*FLINK, google_client=False) == {}


def test_a_graphics_card_is_asked_for_in_one_way():
    card = "type:nvidia-l4;count:1;install-nvidia-driver"
    hint, service = f"--accelerator={card}", f"--dataflow_service_options=worker_accelerator={card}"
    assert found(*DATAFLOW, hint) == {}
    assert found(*DATAFLOW, service) == {}
    assert found(*DATAFLOW, hint, service).keys() == {"accelerator"}
    assert found(*DATAFLOW, "--min_ram=16GB", service).keys() == {"accelerator"}


def test_everything_is_told_at_once_the_fatal_first():
    submission = replace(SCORE, workspace="/workspace", server="localhost:8500")
    seen = preflight.check(
        facts(
            "--runner=FlinkRunner",
            *FAR,
            *POOL,
            submission=submission,
            storage_problems={"images": "no bucket s3://photos"},
            settings={"AWS_REGION": "eu-central-1"},
        )
    )
    fatal = {one.check for one in seen if one.fatal}
    assert fatal == {"workspace_visible", "server_visible", "images_usable"}
    assert [one.fatal for one in seen] == [True] * 3 + [False] * 3
    assert all(one.problem and one.remedy and "\n" not in one.problem for one in seen)
