"""What can be known of the Kubernetes objects without a cluster."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import typer

from infra.kubernetes import check
from linnaeus.cli.app import app
from linnaeus.errors import ConfigurationError
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.file.loading import read_workflow
from linnaeus.workflow.on_kubernetes import launcher
from serving import flags, model_mirror
from serving.config.text_format import read
from tests.infra.kubernetes.objects import Objects, Pod

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(900)]

LINNAEUS = ("linnaeus-trainer", "linnaeus-trainer-gpu", "linnaeus-worker", "linnaeus-server")
STRANGERS = {"flink:1.20-java17", "apache/beam_flink1.20_job_server:2.77.0"}
VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim"}
TEMPLATES = (launcher.EMBED, launcher.TRAIN, launcher.SCORE)
DAY_SECONDS = 24 * 3600
VARIABLE = re.compile(r"\$\((\w+)\)")


def containers(objects: Objects) -> Iterator[tuple[Pod, dict[str, Any]]]:
    for pod in objects.pods().values():
        for container in pod.containers.values():
            yield pod, container


@pytest.mark.parametrize("version", check.VERSIONS)
def test_every_object_is_valid(objects: Objects, version: str) -> None:
    assert check.mistakes(objects.all, version) == []


def test_a_misspelt_field_is_a_line_that_names_it(rendered: dict[str, Objects]) -> None:
    wrong = json.loads(json.dumps(rendered["local"].get("CronJob", "linnaeus-nightly")))
    wrong["spec"]["timezone"] = "Etc/UTC"
    [line] = check.mistakes([wrong], "1.37")
    assert line.startswith("CronJob/linnaeus-nightly: spec: ")
    assert "timezone" in line


def test_what_kustomize_refuses_is_a_line(program: Path, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]")
    with pytest.raises(ConfigurationError, match=r"missing\.yaml") as refused:
        check.render(str(tmp_path))
    assert "\n" not in str(refused.value)


def test_no_two_objects_have_one_name(objects: Objects) -> None:
    names = [check.name(one) for one in objects.all]
    assert len(names) == len(set(names))


def test_all_lies_in_the_namespace_which_refuses_what_is_not_restricted(objects: Objects) -> None:
    [namespace] = objects.of("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [one for one in objects.all if one["kind"] != "Namespace"]
    assert {one["metadata"]["namespace"] for one in others} == {namespace["metadata"]["name"]}


def test_selectors_find_pods(objects: Objects) -> None:
    for service in objects.of("Service").values():
        assert objects.selected({"matchLabels": service["spec"]["selector"]}), service
    for one in objects.of("PodDisruptionBudget").values():
        assert objects.selected(one["spec"]["selector"])
    for name, one in objects.of("Deployment").items():
        assert [pod.name for pod in objects.selected(one["spec"]["selector"])] == [name]


def test_services_ports_are_ports_of_their_pods(objects: Objects) -> None:
    for service in objects.of("Service").values():
        for pod in objects.selected({"matchLabels": service["spec"]["selector"]}):
            for port in service["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                assert target in {*pod.ports, *pod.ports.values()}
                assert pod.ports[port["name"]] == port["port"]


def test_what_is_referred_to_exists(objects: Objects) -> None:
    maps, claims = objects.of("ConfigMap"), objects.of("PersistentVolumeClaim")
    for pod in objects.pods().values():
        account = pod.spec.get("serviceAccountName", "default")
        assert account == "default" or account in objects.of("ServiceAccount")
        for volume in pod.volumes.values():
            assert volume.get("configMap", {}).get("name", "") in {"", *maps}
            assert volume.get("persistentVolumeClaim", {}).get("claimName", "") in {"", *claims}
    for _, container in containers(objects):
        for source in container.get("envFrom", []):
            assert source.get("configMapRef", {}).get("name", "") in {"", *maps}
            assert source.get("secretRef", {"optional": True})["optional"] is True


def test_what_is_mounted_is_a_volume_and_every_volume_is_mounted(objects: Objects) -> None:
    for pod in objects.pods().values():
        every = [one for each in pod.containers.values() for one in each.get("volumeMounts", [])]
        assert {one["name"] for one in every} == set(pod.volumes)


def test_probes_ask_for_ports_that_there_are(objects: Objects) -> None:
    for _, container in containers(objects):
        ports = {port["name"] for port in container.get("ports", [])}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(kind, {})
            asked = probe.get("httpGet") or probe.get("tcpSocket")
            assert asked is None or asked["port"] in ports


def test_images_are_ours_but_flinks_and_all_are_of_a_release(objects: Objects) -> None:
    for pod, container in containers(objects):
        path, _, tag = container["image"].rpartition(":")
        assert re.fullmatch(r"[0-9][\w.-]*", tag), container["image"]
        name = path.rpartition("/")[2]
        if pod.labels.get("app") != "flink":
            assert name in LINNAEUS
        elif container["name"] != "workers":
            assert container["image"] in STRANGERS


@pytest.mark.parametrize("name", ["aws+", "gcp+"])
def test_an_overlays_registry_is_that_of_all_our_images(
    rendered: dict[str, Objects], name: str
) -> None:
    for _, container in containers(rendered[name]):
        if container["image"] not in STRANGERS:
            assert re.match(r"[\w.-]+\.(amazonaws\.com|pkg\.dev)/", container["image"])


def test_no_container_may_become_more_than_it_is(objects: Objects) -> None:
    for pod, container in containers(objects):
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        whole = pod.spec["securityContext"]
        assert whole["runAsNonRoot"] is True
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        if pod.labels.get("app") != "flink":
            assert own["readOnlyRootFilesystem"] is True
            assert whole["runAsUser"] == whole["fsGroup"] == 10001
        for volume in pod.volumes.values():
            assert set(volume) <= VOLUMES


def test_every_container_says_what_it_needs_and_at_most_takes(objects: Objects) -> None:
    for _, container in containers(objects):
        resources = container["resources"]
        assert set(resources["requests"]) == {"cpu", "memory"}
        assert "memory" in resources["limits"]


def test_our_programs_may_write_below_tmp(objects: Objects) -> None:
    for pod, container in containers(objects):
        if pod.labels.get("app") != "flink" and pod.name != "inbox":
            mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
            assert "emptyDir" in pod.volumes[mounts["/tmp"]["name"]]
            assert not mounts["/tmp"].get("readOnly")


def test_only_the_launcher_gets_a_token(rendered: dict[str, Objects]) -> None:
    for name, found in rendered.items():
        with_token = {
            pod.name
            for pod in found.pods().values()
            if pod.spec["automountServiceAccountToken"] is not False
        }
        assert with_token == ({"linnaeus-nightly"} if name.endswith("+") else set())
        for account in found.of("ServiceAccount").values():
            assert account["automountServiceAccountToken"] is False


def test_the_launcher_may_do_what_it_does_and_no_more(rendered: dict[str, Objects]) -> None:
    found = rendered["aws+"]
    [binding], [role] = found.of("RoleBinding").values(), found.of("Role").values()
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    launcher = found.pods()["linnaeus-nightly"].spec["serviceAccountName"]
    assert [one["name"] for one in binding["subjects"]] == [launcher]
    jobs, templates = role["rules"]
    assert (jobs["resources"], set(jobs["verbs"])) == (["jobs"], {"create", "get"})
    assert templates["verbs"] == ["get"]
    assert set(templates["resourceNames"]) == set(TEMPLATES)
    assert set(TEMPLATES) < set(found.of("CronJob"))


def test_templates_are_never_due(rendered: dict[str, Objects]) -> None:
    for name in TEMPLATES:
        assert rendered["aws+"].get("CronJob", name)["spec"]["suspend"] is True


def test_nights_do_not_overlap(objects: Objects) -> None:
    spec = objects.get("CronJob", "linnaeus-nightly")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert ZoneInfo(spec["timeZone"])
    minute, hour, *every = spec["schedule"].split()
    assert minute.isdigit()
    assert hour.isdigit()
    assert every == ["*"] * 3
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < DAY_SECONDS
    assert "suspend" not in spec


def test_what_stays_wrong_is_not_tried_again_but_slices_are(objects: Objects) -> None:
    for name, pod in objects.of("CronJob").items():
        job = pod["spec"]["jobTemplate"]["spec"]
        [codes] = [
            one["onExitCodes"]
            for one in job["podFailurePolicy"]["rules"]
            if one["action"] == "FailJob"
        ]
        assert codes["values"] == ([2] if name.endswith("-slices") else [1, 2])
        # The policy is for pods that are not restarted in place.
        assert job["template"]["spec"]["restartPolicy"] == "Never"
        [container] = job["template"]["spec"]["containers"]
        assert codes.get("containerName", container["name"]) == container["name"]


def test_some_server_is_always_up(objects: Objects) -> None:
    spec = objects.get("Deployment", "linnaeus-serving")["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    scalers = objects.of("HorizontalPodAutoscaler")
    if not scalers:
        assert spec["replicas"] == 1
        return
    scaler = scalers["linnaeus-serving"]["spec"]
    assert "replicas" not in spec  # else each `kubectl apply` would undo what was scaled
    assert scaler["scaleTargetRef"]["name"] == "linnaeus-serving"
    budget = objects.get("PodDisruptionBudget", "linnaeus-serving")["spec"]
    assert 0 < budget["maxUnavailable"] < scaler["minReplicas"] < scaler["maxReplicas"]
    [metric] = scaler["metrics"]
    measured = metric["containerResource"]
    container = objects.pods()["linnaeus-serving"].containers[measured["container"]]
    assert measured["name"] in container["resources"]["requests"]


def workflow_of(objects: Objects, folder: Path) -> Workflow:
    """What the file in the ConfigMap says, read as `linnaeus run` reads it."""
    path = folder / "nightly.toml"
    path.write_text(objects.config("linnaeus-workflow")["nightly.toml"])
    return read_workflow(path)


def test_the_workflow_file_is_one_and_agrees_with_all_else(
    objects: Objects, tmp_path: Path
) -> None:
    workflow = workflow_of(objects, tmp_path)
    assert workflow.workspace == objects.config("linnaeus-workspace")["WORKSPACE"]
    [service] = [one for one in objects.of("Service").values() if "serving" in str(one["metadata"])]
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert service["spec"]["clusterIP"] == "None"
    assert workflow.serving.server == f"{service['metadata']['name']}:{ports['grpc']}"
    assert workflow.schedule.overlap == "leave"


def test_mirror_server_probes_and_workflow_mean_one_model(objects: Objects, tmp_path: Path) -> None:
    name = workflow_of(objects, tmp_path).model.name
    pod = objects.pods()["linnaeus-serving"]
    mirror = model_mirror.parse(pod.containers["mirror"]["args"])
    assert mirror.model == name
    [model] = models(objects, tmp_path)
    assert (model.name, model.base_path) == (name, str(mirror.folder))
    assert model.model_version_policy.latest.num_versions == mirror.keep
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        path = pod.containers["server"][kind]["httpGet"]["path"]
        assert path == f"/v1/models/{name}"


def models(objects: Objects, folder: Path) -> Any:
    from tensorflow_serving.config import model_server_config_pb2

    path = folder / "models.config"
    path.write_text(objects.config("linnaeus-models")["models.config"])
    message = model_server_config_pb2.ModelServerConfig
    read_config = read(str(path), message, "tensorflow.serving.ModelServerConfig")
    return read_config.model_config_list.config


def test_variables_of_command_lines_are_set(objects: Objects) -> None:
    for _, container in containers(objects):
        known = {one["name"] for one in container.get("env", [])}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                known |= set(objects.of("ConfigMap")[source["configMapRef"]["name"]]["data"])
        words = [*container.get("command", []), *container.get("args", [])]
        assert {name for word in words for name in VARIABLE.findall(word)} <= known


def files_named(container: dict[str, Any]) -> set[str]:
    words = [*container.get("command", []), *container.get("args", [])]
    return {path for word in words for path in re.findall(r"/etc/[\w./-]+", word)}


def test_files_that_command_lines_name_are_mounted(objects: Objects) -> None:
    for pod, container in containers(objects):
        mounted = set()
        for mount in container.get("volumeMounts", []):
            source = pod.volumes[mount["name"]].get("configMap")
            if source:
                data = objects.of("ConfigMap")[source["name"]]["data"]
                mounted |= {f"{mount['mountPath']}/{name}" for name in data}
        assert files_named(container) <= mounted


def command_lines(objects: Objects) -> Iterator[list[str]]:
    """Of the containers that start `linnaeus`, as their images do."""
    for pod, container in containers(objects):
        if pod.labels.get("app") != "flink" and "command" not in container:
            yield container["args"]


def parse(arguments: list[str]) -> dict[str, Any]:
    """What the command line would be called with; wrong usage raises."""
    group: Any = typer.main.get_command(app)
    name, *rest = [VARIABLE.sub("1", word) for word in arguments]
    command = group.commands[name]
    parameters: dict[str, Any] = command.make_context(name, rest).params
    return parameters


def test_command_lines_are_ones_of_linnaeus(objects: Objects) -> None:
    for arguments in command_lines(objects):
        parsed = parse(arguments)
        assert parsed, shlex.join(arguments)


def test_command_lines_of_servers_and_launcher_parse(objects: Objects) -> None:
    pods = objects.pods()
    server = flags.parse(pods["linnaeus-serving"].containers["server"]["args"], None)
    ports = pods["linnaeus-serving"].ports
    assert (server.port, server.rest_api_port) == (ports["grpc"], ports["rest"])
    mirror = pods["linnaeus-serving"].containers["mirror"]
    health = model_mirror.parse(mirror["args"]).health
    for kind in ("startupProbe", "livenessProbe"):
        probe = mirror[kind]["exec"]["command"]
        assert probe[:3] == mirror["command"]
        assert model_mirror.parse(probe[3:]).check == health
    nightly = pods["linnaeus-nightly"].containers["nightly"]
    if "command" in nightly:
        assert nightly["command"] == ["python", "-m", launcher.__name__]
        assert launcher.parse(nightly["args"]).slices > 1
