"""Kustomize, built by Go once a machine: less than a minute the first time.

python -m infra.kubernetes.kustomize build infra/kubernetes/overlays/local

Passes its arguments on; who has `kustomize` or `kubectl kustomize` does not need it.
"""

import os
import sys
from pathlib import Path

from beam_pipelines.runners.downloaded import folder
from infra.fetching import fetch, run
from linnaeus.process import run_program

VERSION = "5.8.1"
PACKAGE = f"sigs.k8s.io/kustomize/kustomize/v5@v{VERSION}"


def kustomize() -> Path:
    """The program, built if it is not there.

    Raises:
        ConfigurationError: there is no Go, or it cannot fetch.
    """
    return fetch(folder() / f"kustomize-{VERSION}", _build) / "kustomize"


def _build(into: Path) -> None:
    environment = {"GOBIN": str(into), "CGO_ENABLED": "0"}
    remedy = "install Go 1.24 or newer, and a module proxy that has Kustomize"
    run(["go", "install", PACKAGE], remedy, environment)


def main() -> None:
    """Become Kustomize."""
    program = str(kustomize())
    sys.stdout.flush()
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    run_program(main)
