"""What is seen of real sockets, servers, clusters and stores."""

import socket
from dataclasses import replace

import pytest

from beam_pipelines.preflight import check
from beam_pipelines.preflight.facts import gather, gather_cheap
from beam_pipelines.preflight.flink_rest import FlinkCluster, TaskManager, look_at
from beam_pipelines.preflight.submission import Address, Submission
from linnaeus.planning import EmbedJob, ScoreJob
from tests.beam_pipelines.preflight.flink_stand_in import VERSION, flink, serving

POOL = ("--runner=FlinkRunner", "--parallelism=2", "--environment_type=EXTERNAL")


@pytest.fixture
def free():
    """A port where nothing listens: it is bound, so nobody else gets it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()[1]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:50000", ("localhost", 50000, True)),
        ("127.0.0.2:1", ("127.0.0.2", 1, True)),
        ("[::1]:8500", ("::1", 8500, True)),
        ("0.0.0.0:8500", ("0.0.0.0", 8500, True)),
        ("grpcs://models:443", ("models", 443, False)),
        ("http://10.0.0.7:8081/", ("10.0.0.7", 8081, False)),
    ],
)
def test_an_address_has_a_host_and_a_port(text, address):
    one = Address.parse(text)
    assert (one.host, one.port, one.is_loopback) == address
    assert Address.parse(str(one)) == one


@pytest.mark.parametrize("text", [None, "", "[auto]", "embed", "host", "host:port", "host:99999"])
def test_what_is_no_address_is_none(text):
    assert Address.parse(text) is None


@pytest.mark.parametrize(
    "config",
    [
        "--environment_config=localhost:{}",
        '--environment_config={{"url": "localhost:{}"}}',
        "--environment_options=external_service_address=localhost:{}",
    ],
)
def test_a_worker_pool_is_tried_however_it_is_named(free, listening, config, tmp_path):
    def unreachable(port: int):
        options = (*POOL, config.format(port))
        return gather_cheap(Submission(EmbedJob, "/w", str(tmp_path), beam_options=options))

    assert unreachable(listening).unreachable == {}
    seen = unreachable(free)
    assert list(seen.unreachable) == [Address("localhost", free)]
    assert [one.check for one in check(seen)] == ["worker_pool"]


def test_job_server_and_model_server_are_tried(free, listening):
    options = ("--runner=PortableRunner", f"--job_endpoint=127.0.0.1:{free}", "--parallelism=2")
    options += ("--environment_type=LOOPBACK",)
    asked = Submission(ScoreJob, "/w", "/i", server=f"127.0.0.1:{free}", beam_options=options)
    assert {one.check for one in check(gather_cheap(asked))} == {"job_server", "server_answers"}
    answering = replace(asked, server=f"127.0.0.1:{listening}")
    assert [one.check for one in check(gather_cheap(answering))] == ["job_server"]


def test_a_folder_for_artifacts_that_is_not_there_is_seen(tmp_path):
    options = ("--runner=FlinkRunner", "--parallelism=2")
    for folder, there in ((tmp_path, True), (tmp_path / "none", False)):
        asked = Submission(
            EmbedJob, "/w", "/i", beam_options=(*options, f"--artifacts_dir={folder}")
        )
        assert gather_cheap(asked).artifacts_dir_exists is there


def test_a_clusters_version_slots_and_buffers_are_read():
    managers = {"127.0.0.1:1-a": (4, 64, 2 << 20), "127.0.0.1:2-b": (2, 0, 1 << 20)}
    with flink(managers) as address:
        seen, problem = look_at(Address.parse(address))
    assert problem == ""
    assert seen == FlinkCluster(VERSION, (TaskManager(4, 64), TaskManager(2, 32)))


def test_the_cluster_that_flink_master_or_flink_names_is_judged():
    with flink({"one": (2, 16, 1 << 20)}, "1.20.1") as address:
        options = ("--runner=FlinkRunner", "--flink_version=1.19", "--parallelism=8")
        options += (f"--flink_master={address}", "--environment_type=LOOPBACK")
        asked = Submission(EmbedJob, "/w", "/", beam_options=options)
        assert {one.check for one in check(gather(asked))} == {
            "flink_version",
            "slots",
            "network_buffers",
        }
        portable = ("--runner=PortableRunner", "--parallelism=3", "--environment_type=LOOPBACK")
        asked = Submission(EmbedJob, "/w", "/", beam_options=portable, flink=address)
        assert "slots" in {one.check for one in check(gather(asked))}


@pytest.mark.parametrize("answers", [{}, {"/config": []}, {"/config": {"flink-version": "1"}}])
def test_what_is_no_flink_is_said_to_be_none(answers):
    with serving(answers) as address:
        seen, problem = look_at(Address.parse(address))
    assert seen is None
    assert problem


@pytest.mark.slow
def test_a_store_is_written_to_and_left_as_it_was(s3):
    bucket = s3.bucket()
    client, name = s3.client(), bucket.removeprefix("s3://")
    client.put_object(Bucket=name, Key="images/a.jpg", Body=b"a")
    asked = Submission(EmbedJob, f"{bucket}/w", f"{bucket}/images", output=f"{bucket}/labels")
    assert check(gather(asked)) == []
    keys = [one["Key"] for one in client.list_objects_v2(Bucket=name)["Contents"]]
    assert keys == ["images/a.jpg"]


@pytest.mark.slow
def test_a_store_that_lets_nobody_in_and_images_that_are_not_there_are_found(s3, monkeypatch):
    bucket = s3.bucket()
    asked = Submission(EmbedJob, f"{bucket}/w", f"{bucket}/images")
    assert [one.check for one in check(gather(asked))] == ["images_usable"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stranger")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "stranger-secret")
    found = {one.check: one.problem for one in check(gather(asked))}
    assert found.keys() == {"workspace_usable", "images_usable"}
    assert "access denied" in found["workspace_usable"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_manifest_is_looked_for_as_a_file(tmp_path, suffix):
    name = tmp_path / f"list.{suffix}"
    asked = Submission(EmbedJob, str(tmp_path / "w"), str(name))
    assert [one.check for one in check(gather(asked))] == ["images_usable"]
    name.write_text("uri\n")
    assert check(gather(asked)) == []
