"""The templates of infra/aws, judged offline: stacks, a state machine, policies."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from statelint.linter import Linter

from tests.infra import aws_stacks
from tests.infra.aws_stacks import ACCOUNT, FOLDER, NAMES, REGION, template

ALL = (*NAMES, "main")
HERE = f"{REGION}:{ACCOUNT}"
DEFINITION = f"arn:aws:batch:{HERE}:job-definition/name"
VALUES = {
    "Log.Arn": f"arn:aws:logs:{HERE}:log-group:name:*",
    "WebhookSecret": f"arn:aws:secretsmanager:{HERE}:secret:name-123456",
    "RepositoryArns": f"arn:aws:ecr:{HERE}:repository/label*",
    "NotificationsTopic": f"arn:aws:sns:{HERE}:name",
    "Topic": f"arn:aws:sns:{HERE}:name",
    "Queue": f"arn:aws:batch:{HERE}:job-queue/name",
    "TrainQueue": f"arn:aws:batch:{HERE}:job-queue/name-gpu",
    "ServiceArn": f"arn:aws:ecs:{HERE}:service/name/name",
    "StateMachine": f"arn:aws:states:{HERE}:stateMachine:name",
    "NotStarted.Arn": f"arn:aws:sqs:{HERE}:name",
    "ChangesQueue.Arn": f"arn:aws:sqs:{HERE}:name",
    "ChangesRule.Arn": f"arn:aws:events:{HERE}:rule/name",
    "Workspace.Arn": "arn:aws:s3:::workspace-bucket",
    "Images.Arn": "arn:aws:s3:::images-bucket",
    **dict.fromkeys(["Freeze", "Steps", "Train", "EmbedSlice", "ScoreSlice"], DEFINITION),
    **aws_stacks.PSEUDO,
    **dict.fromkeys(["ImagesBucket", "WorkspaceBucket", "WorkspacePrefix", "WorkflowName"], "name"),
    "ImagesPrefix": "photos/",
}
NO_RESOURCE = {"LogIn", "Look", "DeliverLogs"}
"""Statements whose actions AWS lets nobody narrow to a resource."""


def policies(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every policy document below a node, with the place where it lies."""
    if isinstance(node, dict):
        for key, below in node.items():
            if key == "PolicyDocument":
                yield f"{path}/{key}", below
            yield from policies(below, f"{path}/{key}")
    elif isinstance(node, list):
        for at, below in enumerate(node):
            yield from policies(below, f"{path}/{at}")


POLICIES = {place: policy for name in NAMES for place, policy in policies(template(name), name)}


def resolved(node: Any) -> Any:
    """A policy with plausible names; of an `If` the second case."""
    if isinstance(node, dict) and "Fn::If" in node:
        return resolved(node["Fn::If"][2])
    if isinstance(node, dict) and len(node) > 1:
        return {key: resolved(below) for key, below in node.items()}
    if isinstance(node, list):
        return [resolved(below) for below in node]
    if isinstance(node, dict) and next(iter(node), "").startswith(("Ref", "Fn::")):
        return aws_stacks.resolved(node, VALUES)
    return {k: resolved(v) for k, v in node.items()} if isinstance(node, dict) else node


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    for place, policy in POLICIES.items():
        for statement in policy["Statement"]:
            yield place, resolved(statement)


@pytest.mark.parametrize("name", ALL)
def test_cloudformation_has_nothing_against_a_template(name):
    from cfnlint import ManualArgs, lint_file

    path = str(FOLDER / f"{name}.yaml")
    assert lint_file(Path(path), config=ManualArgs(regions=[REGION, "us-east-1"])) == []


def test_every_template_is_a_stack_of_main():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(ALL)
    urls = [
        r["Properties"]["TemplateURL"]["Fn::Sub"] for r in template("main")["Resources"].values()
    ]
    assert {url.rpartition("/")[2] for url in urls} == {f"{name}.yaml" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_main_hands_a_nested_stack_what_it_asks_for(name):
    given = template("main")["Resources"][name.title()]["Properties"]["Parameters"]
    asked = template(name)["Parameters"]
    assert set(given) <= set(asked)
    assert {k for k, v in asked.items() if "Default" not in v} <= set(given)


def definition() -> dict[str, Any]:
    """The state machine with all its substitutions."""
    properties = template("workflow")["Resources"]["StateMachine"]["Properties"]
    names = properties["DefinitionSubstitutions"]
    text = aws_stacks.substituted(json.dumps(properties["Definition"]), dict.fromkeys(names, "7"))
    return json.loads(text)


def test_the_state_machine_is_sound():
    assert Linter.validate(definition()) == []


def test_a_state_that_leads_nowhere_is_found():
    broken = definition()
    broken["States"]["Report"]["Next"] = "Stop server"
    assert any("Stop server" in problem for problem in Linter.validate(broken))


def test_no_state_can_fail_unseen():
    for name, state in definition()["States"].items():
        if state["Type"] == "Task":
            assert ["States.ALL"] in [each["ErrorEquals"] for each in state["Catch"]], name
        if "submitJob" in state.get("Resource", ""):
            assert state["TimeoutSeconds"]


def test_every_substitution_is_used():
    properties = template("workflow")["Resources"]["StateMachine"]["Properties"]
    used = set(re.findall(r"\$\{(\w+)\}", json.dumps(properties["Definition"])))
    assert used == set(properties["DefinitionSubstitutions"])


@pytest.mark.parametrize("place", POLICIES)
def test_no_policy_has_a_finding(place):
    from parliament import analyze_policy_string, enhance_finding

    policy = {**POLICIES[place], "Statement": [resolved(s) for s in POLICIES[place]["Statement"]]}
    analyzed = analyze_policy_string(json.dumps(policy))
    found = [enhance_finding(finding) for finding in analyzed.findings]
    assert [f for f in found if f.severity != "LOW"] == []
    assert [f for f in found if f.issue in ("RESOURCE_STAR", "UNKNOWN_ACTION")] == []


def test_a_star_stands_only_where_nothing_narrower_is_possible():
    everything = {
        statement["Sid"]
        for _, statement in statements()
        if statement["Effect"] == "Allow" and "*" in (statement.get("Resource"),)
    }
    assert everything == NO_RESOURCE
    for _, statement in statements():
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert "*" not in action or statement["Effect"] == "Deny"


def test_a_role_is_for_one_service():
    for name in NAMES:
        for resource in template(name)["Resources"].values():
            if resource["Type"] == "AWS::IAM::Role":
                trust = resource["Properties"]["AssumeRolePolicyDocument"]
                [statement] = trust["Statement"]
                assert statement["Action"] == "sts:AssumeRole"
                [(kind, service)] = statement["Principal"].items()
                assert (kind, service.endswith(".amazonaws.com")) == ("Service", True)


def role(stack: str, name: str) -> set[tuple[str, str]]:
    """What a role may do: actions and where."""
    allowed: set[tuple[str, str]] = set()
    for policy in template(stack)["Resources"][name]["Properties"]["Policies"]:
        for statement in map(resolved, policy["PolicyDocument"]["Statement"]):
            actions, places = statement["Action"], statement["Resource"]
            for action in [actions] if isinstance(actions, str) else actions:
                for place in [places] if isinstance(places, str) else places:
                    allowed.add((action, place))
    return allowed


def test_the_scheduler_may_start_one_state_machine_and_write_to_one_queue():
    assert role("workflow", "ScheduleRole") == {
        ("states:StartExecution", VALUES["StateMachine"]),
        ("sqs:SendMessage", VALUES["NotStarted.Arn"]),
    }


def test_servers_may_read_models_alone():
    assert role("serving", "ServersRole") == {
        ("s3:GetObject", "arn:aws:s3:::name/name/models/*"),
        ("s3:ListBucket", "arn:aws:s3:::name"),
    }


def test_slices_may_write_neither_models_nor_labels_nor_images():
    writes = {place for action, place in role("jobs", "SliceRole") if "Put" in action}
    assert writes
    assert all(place.startswith("arn:aws:s3:::name/name/") for place in writes)
    assert not [
        p for p in writes if p.endswith(("models/*", "labels/*", "workflow_runs/*", "/name/*"))
    ]


def test_the_run_is_named_by_the_schedule():
    target = template("workflow")["Resources"]["Nightly"]["Properties"]["Target"]
    request = json.loads(aws_stacks.resolved(target["Input"], VALUES))
    assert request["Name"] == "<aws.scheduler.execution-id>"
    assert request["StateMachineArn"] == VALUES["StateMachine"]
    assert json.loads(request["Input"]) == {}


@pytest.fixture
def deployed(tmp_path):
    """Runs deploy.sh with an `aws` that only notes what it is asked; returns that."""
    program = tmp_path / "bin" / "aws"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> "$NOTES"\necho a-bucket\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    def deploy(*arguments: str, **variables: str) -> tuple[int, list[str]]:
        notes = tmp_path / "notes"
        environment = {"PATH": path, "NOTES": str(notes), **variables}
        done = subprocess.run(
            [FOLDER / "deploy.sh", *arguments], env=environment, capture_output=True, check=False
        )
        return done.returncode, notes.read_text().splitlines() if notes.exists() else []

    return deploy


def test_deploying_puts_up_all_templates_and_names_known_parameters(deployed):
    status, asked = deployed("templates", "registry/label", "Slices=4", WORKFLOW="my.toml")
    assert status == 0
    copies = [line.split()[-1] for line in asked if line.startswith("s3 cp")]
    assert {c.rpartition("/")[2] for c in copies[:-1]} == {f"{name}.yaml" for name in ALL}
    assert copies[-1] == "s3://a-bucket/workflows/nightly.toml"
    [stack] = [line for line in asked if line.startswith("cloudformation deploy")]
    named = dict(word.split("=", 1) for word in stack.split("--parameter-overrides ")[1].split())
    assert named["Slices"] == "4"
    assert f"s3://templates/{named['TemplatesPrefix']}/main.yaml" in copies
    assert set(named) <= set(template("main")["Parameters"])
    outputs = {found for line in asked for found in re.findall(r"OutputKey=='(\w+)'", line)}
    assert outputs <= set(template("main")["Outputs"])


def test_deploying_without_a_repository_says_how(deployed):
    assert deployed("templates") == (2, [])
