"""Beam's Prism runner, built by Go once a machine: some two minutes the first time.

python -m infra.prism.build
"""

from pathlib import Path

from beam_pipelines import local_runners
from beam_pipelines.launching import run_program
from infra.fetching import fetch, run

PACKAGE = f"github.com/apache/beam/sdks/v2/go/cmd/prism@{local_runners.PRISM_VERSION}"


def prism() -> Path:
    """The program, built if it is not there.

    Raises:
        ConfigurationError: there is no Go, or it cannot fetch.
    """
    program = local_runners.prism()
    return fetch(program.parent, _build) / program.name


def _build(folder: Path) -> None:
    command = ["go", "install", PACKAGE]
    environment = {"GOBIN": str(folder)}
    run(command, "install Go 1.23 or newer, and a module proxy that has Beam", environment)


def main() -> None:
    """Fetch what is missing, and say where it lies."""
    print(prism())


if __name__ == "__main__":
    run_program(main)
