"""What infra/gcp puts into a project: deploy.sh carried out with a stand-in for gcloud."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "gcp"
GCLOUD = """#!/bin/bash
printf '%q ' "${@:3}" >> "$CALLS"; echo >> "$CALLS"
for word; do case $word in
    describe) [ "$3" = scheduler ] || [ "$4" = services ] || exit 1 ;;
    --*-file=* | --source=*) cp "${word#*=}" "$KEPT" ;;
    *.yaml) cp "$word" "$KEPT" ;;
esac; done
"""
BASIC = {"roles/owner", "roles/editor", "roles/viewer"}
OF_PODS = {"containers", "volumes", "nodeSelector", "serviceAccountName"}


@dataclass(frozen=True)
class Deployed:
    """The calls of gcloud, and the files that they named."""

    calls: list[str]
    kept: Path

    def yaml(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((self.kept / name).read_text())
        return found

    def position(self, words: str) -> int:
        return next(i for i, call in enumerate(self.calls) if words in call)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory) -> Deployed:
    folder = tmp_path_factory.mktemp("deployed")
    (folder / "kept").mkdir()
    (folder / "gcloud").write_text(GCLOUD)
    (folder / "gcloud").chmod(0o755)
    (folder / "workflow.toml").write_text("")
    settings = {
        "PROJECT": "my-project",
        "REGION": "europe-west1",
        "BUCKET": "my-bucket",
        "IMAGES_BUCKET": "my-photos",
        "VERSION": "1",
        "EMAIL": "me@example.com",
        "WORKFLOW_FILE": str(folder / "workflow.toml"),
        "CALLS": str(folder / "calls"),
        "KEPT": str(folder / "kept"),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    for parts in ([], ["server"]):
        command = ["bash", str(FOLDER / "deploy.sh"), *parts]
        ended = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
    return Deployed((folder / "calls").read_text().splitlines(), folder / "kept")


def permissions() -> list[tuple[str, str, str]]:
    lines = (FOLDER / "permissions.conf").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return [(account, role, on) for account, role, on in rows]


def test_every_account_is_made_before_it_is_given_its_roles_each_on_one_thing(deployed):
    for account, role, on in permissions():
        assert role.startswith("roles/")
        assert role not in BASIC
        assert not re.search(r"[aA]dmin", role)
        made = deployed.position(f"iam service-accounts create {account} ")
        member = f"--member=serviceAccount:{account}@my-project.iam.gserviceaccount.com"
        given = [
            i
            for i, call in enumerate(deployed.calls)
            if "add-iam-policy-binding" in call and member in call and f"--role={role} " in call
        ]
        assert given
        assert min(given) > made
        buckets = {"workspace": "my-bucket", "shards": "my-bucket", "images": "my-photos"}
        name = {f"bucket:{what}": f"gs://{bucket}" for what, bucket in buckets.items()}.get(
            on, "my-project" if on == "project" else on.partition(":")[2]
        )
        assert any(f" {name}" in deployed.calls[i] for i in given), (account, on)
    bindings = sum("add-iam-policy-binding" in call for call in deployed.calls)
    assert bindings == len(permissions())


def test_what_decodes_pictures_writes_its_own_prefixes_only_as_on_aws(deployed):
    slices = (FOLDER.parent / "aws" / "jobs.yaml").read_text().partition("WriteTheirOwn")[2]
    on_aws = re.findall(r"\$\{WorkspacePrefix\}/(\w+)/\*", slices.partition("Type: ")[0])
    [given] = [
        call
        for call in deployed.calls
        if "linnaeus-shards@" in call and "role=roles/storage.objectUser" in call
    ]
    condition = "".join(shlex.split(given)).partition("expression=")[2]
    allowed = re.findall(r'resource\.name\.startsWith\("([^"]+)"\)', condition)
    start = "projects/_/buckets/my-bucket/objects/"
    assert set(allowed) == {f"{start}workspace/{one}/" for one in on_aws} | {f"{start}temp/"}
    assert "embeddings" in on_aws and "models" not in on_aws
    assert condition.count("||") == len(allowed) - 1 <= 12  # operators that a condition may have
    on_buckets = [call for call in deployed.calls if "storage buckets add-iam" in call]
    assert all("--condition=" in call for call in on_buckets)  # else gcloud asks


def test_whatever_names_an_account_names_one_that_is_made(deployed):
    named = set()
    for path in [*FOLDER.rglob("*.yaml"), FOLDER / "deploy.sh"]:
        named |= set(re.findall(r"(linnaeus-\w+)@", path.read_text()))
    assert named == {account for account, _, _ in permissions()}


def test_no_one_but_the_steps_that_write_may_write_and_nobody_writes_images():
    roles = {(account, on): role for account, role, on in permissions()}
    writers = {(a, on) for (a, on), role in roles.items() if role == "roles/storage.objectUser"}
    assert writers == {
        ("linnaeus-steps", "bucket:workspace"),
        ("linnaeus-train", "bucket:workspace"),
        ("linnaeus-shards", "bucket:shards"),
    }
    on_images = {role for (_, on), role in roles.items() if on == "bucket:images"}
    assert on_images == {"roles/storage.objectViewer"}


@pytest.mark.parametrize("name", ["steps", "train", "slices", "server"])
def test_what_runs_on_cloud_run_is_well_formed_and_filled_in(deployed, name):
    text = (deployed.kept / f"{name}.yaml").read_text()
    assert "${" not in text
    spec = yaml.safe_load(text)["spec"]["template"]["spec"]
    if name != "server":
        assert spec["taskCount"] == 1
        spec = spec["template"]["spec"]
    pod = {key: value for key, value in spec.items() if key in OF_PODS}
    others = spec.keys() - OF_PODS
    assert others <= {"maxRetries", "timeoutSeconds", "containerConcurrency"}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod}
    kubernetes_validate.validate(made, "1.37", strict=True)
    for container in pod["containers"]:
        assert container["image"].startswith("europe-west1-docker.pkg.dev/my-project/linnaeus/")
        mounted = {one["name"] for one in container.get("volumeMounts", [])}
        assert mounted <= {one["name"] for one in pod.get("volumes", [])}


def test_only_the_accounts_that_score_may_ask_the_server_and_everyone_else_is_refused(deployed):
    annotations = deployed.yaml("server.yaml")["metadata"]["annotations"]
    assert annotations == {"run.googleapis.com/ingress": "internal"}
    asking = {account for account, role, _ in permissions() if role == "roles/run.invoker"}
    assert asking == {"linnaeus-steps", "linnaeus-shards"}
    given = [call for call in deployed.calls if "--role=roles/run.invoker" in call]
    assert len(given) == 2
    assert all(" run services add-iam-policy-binding linnaeus-server " in f" {c}" for c in given)
    assert min(map(deployed.calls.index, given)) > deployed.position("run services replace")
    assert not any("allUsers" in path.read_text() for path in FOLDER.rglob("*") if path.is_file())


def test_the_mirrors_command_is_one_that_it_takes(deployed):
    from serving import model_mirror

    containers = deployed.yaml("server.yaml")["spec"]["template"]["spec"]["containers"]
    [mirror] = [one for one in containers if one["name"] == "mirror"]
    assert mirror["command"] == ["python", "-m", model_mirror.__name__]
    taken = subprocess.run(
        [*mirror["command"], "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PATH": str(Path(sys.executable).parent)},
    ).stdout
    assert all(one.partition("=")[0] in taken for one in mirror["args"])


def test_the_workflow_gets_every_setting_that_it_asks_for(deployed):
    asked = set(re.findall(r'sys\.get_env\("(\w+)"\)', (FOLDER / "workflow.yaml").read_text()))
    given = deployed.yaml("environment.yaml")
    assert given.keys() == {name for name in asked if not name.startswith("GOOGLE_CLOUD_")}
    assert all(isinstance(value, str) for value in given.values())


def test_the_scheduler_starts_the_workflow_that_is_deployed(deployed):
    flags = deployed.yaml("scheduler.yaml")
    assert flags["--schedule"] == "0 2 * * *"
    assert "/workflows/linnaeus-nightly/executions" in flags["--uri"]
    assert any("workflows deploy linnaeus-nightly" in call for call in deployed.calls)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((FOLDER / "alerts").glob("*.yaml")), ids=lambda p: p.stem)
def test_an_alert_is_one_that_monitoring_takes(path):
    import json

    from google.cloud.monitoring_v3 import AlertPolicy

    text = json.dumps(yaml.safe_load(path.read_text()))
    policy = AlertPolicy.from_json(text, ignore_unknown_fields=False)
    assert policy.documentation.content
    assert len(policy.conditions) == 1


def known_commands() -> dict[str, Any]:
    root = Path(str(shutil.which("gcloud"))).resolve().parents[1]
    names: dict[str, Any] = {}
    exec((root / "data" / "cli" / "gcloud_completions.py").read_text(), names)
    tree: dict[str, Any] = names["STATIC_COMPLETION_CLI_TREE"]
    return tree


@pytest.mark.skipif(not shutil.which("gcloud"), reason="without Google Cloud's command line")
def test_gcloud_has_every_command_and_flag(deployed):
    tree = known_commands()
    for call in deployed.calls:
        node, flags = tree, set(tree["flags"])
        for word in call.split():
            if word in node["commands"]:
                node = node["commands"][word]
                flags |= set(node["flags"])
        used = set(re.findall(r"(?<= )(--[a-z-]+)", call))
        assert not node["commands"], call
        assert used <= flags | {"--flags-file"}, (call, used - flags)
