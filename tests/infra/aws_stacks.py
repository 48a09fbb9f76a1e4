"""The templates of infra/aws, read, put together as main.yaml says, and made in moto.

What moto cannot do is done here, in `for_moto`, and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

FOLDER = Path(__file__).parents[2] / "infra" / "aws"
NAMES = ("network", "storage", "notifications", "serving", "jobs", "workflow")
"""Nested stacks, in an order in which each has what it needs."""
REGION = "eu-west-1"
ACCOUNT = "123456789012"
PSEUDO = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "linnaeus",
}
GIVEN = {
    "TemplatesBucket": "templates",
    "Repository": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/label",
}
Outputs = dict[str, dict[str, str]]


def template(name: str) -> dict[str, Any]:
    """A template with its short forms (`!Ref`) written out."""
    from cfnlint.decode import decode_str

    read, mistakes = decode_str((FOLDER / f"{name}.yaml").read_text("utf-8"))
    assert not mistakes, mistakes
    return json.loads(json.dumps(read))


def substituted(text: str, values: Mapping[str, Any]) -> str:
    """Every `${Name}` replaced; an unknown one is an error."""
    return re.sub(r"\$\{([^}!]+)\}", lambda found: str(values[found[1]]), text)


def resolved(node: Any, values: Mapping[str, Any]) -> Any:
    """A value with its functions carried out; `values` by `Name` and `Name.Outputs.Other`."""
    if isinstance(node, list):
        return [resolved(each, values) for each in node]
    if not isinstance(node, dict):
        return node
    match [*node.items()]:
        case [("Ref", name)]:
            return values[name]
        case [("Fn::GetAtt", path)]:
            return values[path if isinstance(path, str) else ".".join(path)]
        case [("Fn::Sub", [text, more])]:
            return substituted(text, {**values, **resolved(more, values)})
        case [("Fn::Sub", text)]:
            return substituted(text, values)
        case [("Fn::Select", [index, those])]:
            return resolved(those, values)[int(index)]
        case [("Fn::Split", [mark, text])]:
            return resolved(text, values).split(mark)
    return {name: resolved(each, values) for name, each in node.items()}


def main_parameters(**given: str) -> dict[str, str]:
    """The parameters of main.yaml, with its defaults."""
    known = template("main")["Parameters"]
    assert set(given) <= set(known), "no such parameter"
    values = {**GIVEN, **given}
    return {name: str(values.get(name, each.get("Default"))) for name, each in known.items()}


def nested_parameters(name: str, given: Mapping[str, str], outputs: Outputs) -> dict[str, str]:
    """What main.yaml hands to a nested stack."""
    values = {**PSEUDO, **given}
    for stack, its in outputs.items():
        values |= {f"{stack.title()}.Outputs.{output}": value for output, value in its.items()}
    resource = template("main")["Resources"][name.title()]
    return {k: str(resolved(v, values)) for k, v in resource["Properties"]["Parameters"].items()}


def for_moto(name: str) -> dict[str, Any]:
    """A template as moto understands it."""
    changed = template(name)
    for resource in changed["Resources"].values():
        match resource["Type"], resource.setdefault("Properties", {}):
            case "AWS::EC2::Subnet", properties:  # has no Fn::Cidr
                number = properties["CidrBlock"]["Fn::Select"][0]
                properties["CidrBlock"] = f"10.64.{number}.0/24"
            case "AWS::Batch::ComputeEnvironment", properties:  # knows no service-linked role
                properties["ServiceRole"] = {"Fn::GetAtt": ["StartRole", "Arn"]}
            case (
                (
                    "AWS::ElasticLoadBalancingV2::Listener"
                    | "AWS::ElasticLoadBalancingV2::TargetGroup"
                ),
                properties,
            ):  # every load balancer is one for HTTP
                properties["Protocol"] = "HTTP"
                properties.pop("HealthCheckProtocol", None)
            case "AWS::StepFunctions::StateMachine", properties:  # reads nothing but text
                text = json.dumps(properties.pop("Definition"))
                text = re.sub(r'("IntervalSeconds"|"MaxAttempts"): \d+', r"\1: 1", text)
                values = properties.pop("DefinitionSubstitutions")
                pieces = re.split(r"\$\{(\w+)\}", text)  # its Fn::Sub makes $ of $$
                pieces[1::2] = [values[name] for name in pieces[1::2]]
                properties["DefinitionString"] = {"Fn::Join": ["", pieces]}
    return changed


def make(given: Mapping[str, str], server: str | None = None) -> Outputs:
    """Make all stacks, each from what main.yaml hands to it; returns their outputs.

    No load balancer answers here: `server` stands in its place.
    """
    cloudformation = boto3.client("cloudformation", region_name=REGION)
    outputs: Outputs = {}
    for name in NAMES:
        parameters = nested_parameters(name, given, outputs)
        cloudformation.create_stack(
            StackName=f"linnaeus-{name}",
            TemplateBody=json.dumps(for_moto(name)),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        )
        [stack] = cloudformation.describe_stacks(StackName=f"linnaeus-{name}")["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        outputs[name] = {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}
        if name == "serving" and server:
            outputs[name]["Server"] = server
    return outputs
