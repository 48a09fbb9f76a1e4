"""Renders overlays and holds every object against Kubernetes' own schemas, without a cluster.

python -m infra.kubernetes.check infra/kubernetes/overlays/local
"""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]

from infra.kubernetes.kustomize import kustomize
from linnaeus.errors import ConfigurationError
from linnaeus.process import run_program

VERSIONS = ("1.34", "1.37")

Object = dict[str, Any]


def render(folder: str) -> list[Object]:
    """The objects of a folder with a kustomization.

    Raises:
        ConfigurationError: Kustomize refuses it; the message is its last line.
    """
    command = [str(kustomize()), "build", folder]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ConfigurationError(f"{folder}: {ended.stderr.strip().splitlines()[-1]}")
    return [one for one in yaml.safe_load_all(ended.stdout) if one]


def mistakes(objects: Sequence[Object], version: str) -> list[str]:
    """What a version of Kubernetes would refuse of them, a line each."""
    return [line for one in objects if (line := _mistake(one, version))]


def name(one: Object) -> str:
    """Kind and name, as `kubectl` writes them."""
    return f"{one['kind']}/{one['metadata']['name']}"


def _mistake(one: Object, version: str) -> str:
    try:
        kubernetes_validate.validate(one, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(map(str, error.path))
        return f"{name(one)}: {where}: {error.message} (Kubernetes {version})"
    return ""


def main() -> None:
    """Check each folder that is named; a mistake is a line, and status 1."""
    for folder in sys.argv[1:]:
        objects = render(folder)
        if found := [line for version in VERSIONS for line in mistakes(objects, version)]:
            raise ConfigurationError("\n".join(found))
        print(f"{folder}: {len(objects)} objects are valid for Kubernetes {', '.join(VERSIONS)}")


if __name__ == "__main__":
    run_program(main)
