"""Rendered objects, and the pods that they make."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[3] / "infra" / "kubernetes"


@dataclass(frozen=True)
class Pod:
    """What a workload's pods are like."""

    name: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> dict[str, dict[str, Any]]:
        """All, sidecars first."""
        both = [*self.spec.get("initContainers", []), *self.spec["containers"]]
        return {one["name"]: one for one in both}

    @property
    def ports(self) -> dict[str, int]:
        """By name."""
        every = [port for one in self.containers.values() for port in one.get("ports", [])]
        return {port["name"]: port["containerPort"] for port in every}

    @property
    def volumes(self) -> dict[str, dict[str, Any]]:
        """By name, without it."""
        found = {}
        for one in self.spec.get("volumes", []):
            found[one["name"]] = {key: value for key, value in one.items() if key != "name"}
        return found


@dataclass(frozen=True)
class Objects:
    """All objects of a render."""

    all: list[dict[str, Any]]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Those of a kind, by name."""
        return {one["metadata"]["name"]: one for one in self.all if one["kind"] == kind}

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.of(kind)[name]

    def config(self, name: str) -> dict[str, str]:
        """Data of a ConfigMap, whose name ends in a digest of it."""
        [found] = [
            one["data"] for full, one in self.of("ConfigMap").items() if full[: len(name)] == name
        ]
        return found

    def pods(self) -> dict[str, Pod]:
        """Of every workload, by the workload's name."""
        return {pod.name: pod for one in self.all if (pod := pod_of(one))}

    def selected(self, selector: dict[str, Any]) -> list[Pod]:
        """The pods that a label selector finds."""
        return [pod for pod in self.pods().values() if matches(selector, pod.labels)]


def pod_of(one: dict[str, Any]) -> Pod | None:
    name = one["metadata"]["name"]
    match one["kind"]:
        case "Pod":
            return Pod(name, one["metadata"]["labels"], one["spec"])
        case "Deployment":
            template = one["spec"]["template"]
        case "CronJob":
            template = one["spec"]["jobTemplate"]["spec"]["template"]
        case _:
            return None
    return Pod(name, template["metadata"]["labels"], template["spec"])


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector, which may be empty, takes these labels."""
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()
