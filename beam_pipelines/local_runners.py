"""Runners that are programs of their own, once they have been fetched to this machine.

`make runners` fetches them; what a person names by Beam's options always comes first.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from beam_pipelines.options import runner_name
from linnaeus.engines import processors

FLINK_VERSION = "1.19"
BEAM_OF_FLINK = "2.62.0"
"""Beam of the job server that can be put together from a package registry."""
PRISM_VERSION = "v2.77.0"


def folder() -> Path:
    """Where fetched runners lie: `$XDG_CACHE_HOME/linnaeus/runners`."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "linnaeus" / "runners"


def flink_job_server() -> Path:
    """The jar that starts Beam's job server for Flink; next to it lie the jars it names."""
    return folder() / f"flink-{FLINK_VERSION}-beam-{BEAM_OF_FLINK}" / "job-server.jar"


def flink_libraries() -> Path:
    """The folder of Flink's own jars."""
    return folder() / f"flink-{FLINK_VERSION}" / "pyflink" / "lib"


def prism() -> Path:
    """The program of Beam's Prism runner."""
    return folder() / f"prism-{PRISM_VERSION}" / "prism"


def with_fetched(arguments: Sequence[str]) -> list[str]:
    """Beam's options, with what was fetched for their runner where they name nothing else.

    Flink works on as many shards at once as there are processors, unless told otherwise: its own
    default is one.
    """
    asked = list(arguments)
    runner = runner_name(asked)
    if runner == "prism" and prism().exists():
        return _added(asked, {"prism_location": str(prism())})
    if runner != "flink":
        return asked
    asked = _added(asked, {"parallelism": str(processors())})
    if flink_job_server().exists() and not _has(asked, "flink_version"):
        jar = {"flink_job_server_jar": str(flink_job_server())}
        return [*_added(asked, jar), f"--flink_version={FLINK_VERSION}"]
    return asked


def _added(arguments: list[str], defaults: dict[str, str]) -> list[str]:
    missing = [f"--{name}={value}" for name, value in defaults.items() if not _has(arguments, name)]
    return [*arguments, *missing]


def _has(arguments: Sequence[str], name: str) -> bool:
    return any(one.split("=", 1)[0] == f"--{name}" for one in arguments)
