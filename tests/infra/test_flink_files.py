"""Compose and Kubernetes files of a Flink cluster: what can be known of them without either."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from infra.flink import command_lines
from infra.flink.command_lines import CommandLines

FOLDER = Path(__file__).parents[2] / "infra" / "flink"
VERSIONS = ("1.34", "1.37")
CONF = yaml.safe_load((FOLDER / "conf" / "config.yaml").read_text())
MEBIBYTES = re.compile(r"(\d+)(Mi|Gi)")


def documents(name: str) -> list[dict[str, Any]]:
    text = (FOLDER / name).read_text()
    return [one for one in yaml.safe_load_all(text) if one]


def kustomized() -> dict[str, dict[str, Any]]:
    """The objects that the kustomization lists, by kind and name."""
    [kustomization] = documents("kustomization.yaml")
    objects = [one for name in kustomization["resources"] for one in documents(name)]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in objects}


def compose() -> dict[str, dict[str, Any]]:
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (FOLDER / "compose.yaml").read_text())
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return services


def containers() -> dict[str, dict[str, Any]]:
    deployments = [one for one in kustomized().values() if one["kind"] == "Deployment"]
    specs = [one["spec"]["template"]["spec"] for one in deployments]
    return {one["name"]: one for spec in specs for one in spec["containers"]}


def options(arguments: list[str]) -> set[str]:
    """Names of the options among arguments."""
    return {one.partition("=")[0] for one in arguments if one.startswith("--")}


@pytest.fixture
def local(tmp_path) -> CommandLines:
    """The command lines of the local cluster, with jars that nobody has fetched."""
    return CommandLines(tmp_path, dict.fromkeys(command_lines.PORTS, 1))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_for_kubernetes(version):
    for one in kustomized().values():
        kubernetes_validate.validate(one, version, strict=True)


def test_a_misspelt_field_is_found():
    wrong = kustomized()["Deployment/taskmanager"]
    wrong["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_services_find_the_pods_of_their_deployments():
    objects = kustomized()
    for name in ("jobmanager", "job-server"):
        labels = objects[f"Deployment/{name}"]["spec"]["template"]["metadata"]["labels"]
        assert objects[f"Service/{name}"]["spec"]["selector"].items() <= labels.items()


def test_services_have_the_ports_of_the_settings():
    found = {
        port["name"]: port["port"] for port in kustomized()["Service/jobmanager"]["spec"]["ports"]
    }
    expected = {
        "rpc": CONF["jobmanager"]["rpc"]["port"],
        "blob": CONF["blob.server.port"],
        "rest": CONF["rest"]["port"],
    }
    assert found == expected


def test_probes_ask_for_ports_of_the_settings():
    known = {
        "jobmanager": {"rpc": CONF["jobmanager"]["rpc"]["port"], "rest": CONF["rest"]["port"]},
        "taskmanager": {"rpc": CONF["taskmanager"]["rpc.port"]},
    }
    for name, ports in known.items():
        container = containers()[name]
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert named.items() >= ports.items()
        kinds = ("readinessProbe", "livenessProbe")
        probes = [container[kind] for kind in kinds if kind in container]
        asked = {probe.get("tcpSocket", probe.get("httpGet"))["port"] for probe in probes}
        assert asked <= set(ports)


def test_nobody_asks_for_the_pool_from_outside_its_pod():
    assert "exec" in containers()["workers"]["readinessProbe"]


def test_files_of_the_settings_exist():
    [kustomization] = documents("kustomization.yaml")
    for generated in kustomization["configMapGenerator"]:
        for file in generated["files"]:
            assert (FOLDER / file).is_file()


def sizes(settings: dict[str, Any]) -> int:
    """Sum of all sizes in bytes below a part of the settings; of a range the larger one."""
    total = 0
    for key, value in settings.items():
        if isinstance(value, dict):
            total += sizes(value)
        elif str(value).endswith("b") and not key.endswith(".min"):
            total += int(str(value)[:-1])
    return total


@pytest.mark.parametrize("name", ["jobmanager", "taskmanager"])
def test_a_pod_has_the_memory_that_flink_is_told_of(name):
    limit = MEBIBYTES.fullmatch(containers()[name]["resources"]["limits"]["memory"])
    assert limit
    mebibytes = int(limit[1]) * (1024 if limit[2] == "Gi" else 1)
    assert sizes(CONF[name]["memory"]) <= mebibytes << 20


def test_no_container_may_become_more_than_it_is():
    for container in containers().values():
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for one in kustomized().values():
        if one["kind"] == "Deployment":
            assert one["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    for service in compose().values():
        assert service["cap_drop"] == ["ALL"]


def test_workers_share_the_task_managers_network():
    assert compose()["workers"]["network_mode"] == "service:taskmanager"
    spec = kustomized()["Deployment/taskmanager"]["spec"]["template"]["spec"]
    assert [one["name"] for one in spec["containers"]] == ["taskmanager", "workers"]


def test_job_server_and_task_managers_share_the_folder_of_artifacts():
    services, found = compose(), containers()
    for name in ("job-server", "taskmanager"):
        assert "artifacts:/artifacts" in services[name]["volumes"]
        assert {"name": "artifacts", "mountPath": "/artifacts"} in found[name]["volumeMounts"]
    for arguments in (services["job-server"]["command"], found["job-server"]["args"]):
        assert "--artifacts-dir=/artifacts" in arguments


def test_the_job_server_is_started_as_the_local_one_is(local, monkeypatch):
    monkeypatch.setattr(command_lines.downloads, "job_server", lambda: Path("jar"))
    expected = {one for one in options(local.job_server()) if not one.startswith("--add")}
    for arguments in (compose()["job-server"]["command"], containers()["job-server"]["args"]):
        assert options(arguments) - {"--flink-conf-dir"} == expected


def test_the_pool_of_the_image_is_started_as_the_local_one_is(local):
    entrypoint = (FOLDER / "Dockerfile").read_text().rpartition("ENTRYPOINT ")[2]
    _, _, module, *arguments = yaml.safe_load(entrypoint)
    assert module == command_lines.WORKER_POOL
    assert options(arguments) == options(local.worker_pool())


def test_versions_of_flink_agree():
    flink = "1.20"
    images = [containers()[name]["image"] for name in ("jobmanager", "taskmanager")]
    images += [compose()[name]["image"] for name in ("jobmanager", "taskmanager")]
    assert set(images) == {f"flink:{flink}-java17"}
    from apache_beam.version import __version__ as beam

    server = f"apache/beam_flink{flink}_job_server:{beam}"
    assert {containers()["job-server"]["image"], compose()["job-server"]["image"]} == {server}
