"""Beam's Prism runner, built by Go once a machine: some two minutes the first time.

python -m infra.prism.build
"""

from pathlib import Path

from beam_pipelines.runners import downloaded
from infra.fetching import fetch, run
from linnaeus.process import run_program

PACKAGE = f"github.com/apache/beam/sdks/v2/go/cmd/prism@{downloaded.PRISM_VERSION}"


def prism() -> Path:
    """The program, built if it is not there.

    Raises:
        ConfigurationError: there is no Go, or it cannot fetch.
    """
    program = downloaded.prism()
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
