"""Runners that are programs of their own, once they have been fetched to this machine.

`make runners` fetches them; what a person names by Beam's options always comes first.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from beam_pipelines.runners.options import all_options, has_option, runner_name, with_defaults
from linnaeus.process import processors

FLINK_VERSION = "1.19"
BEAM_OF_FLINK = "2.62.0"
"""Beam of the job server that can be put together from a package registry."""
PRISM_VERSION = "v2.77.0"
PRISM_JOB_SECONDS = 30 * 24 * 3600
"""Beam's `--job_server_timeout` ends the wait for a job on Prism, where it should end a call."""
EMBEDDED = ("[auto]", "[local]")
"""Values of `--flink_master` that start a cluster inside the job server."""


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

    A Flink inside the job server works on as many shards at once as there are processors, unless
    told otherwise: its own default is one. Of a cluster elsewhere only its owner knows version and
    size, so nothing is added.
    """
    asked = list(arguments)
    runner = runner_name(asked)
    if runner == "prism":
        return _for_prism(asked)
    if runner == "flink" and all_options(asked)["flink_master"] in EMBEDDED:
        return _for_embedded_flink(asked)
    return asked


def _for_prism(asked: list[str]) -> list[str]:
    """A server of the run's own, so that it can be stopped; the time limit is that of a job."""
    own = [*asked, "--experiments=disable_prism_server_singleton"]
    defaults = {"job_server_timeout": str(PRISM_JOB_SECONDS)}
    if prism().exists():
        defaults["prism_location"] = str(prism())
    return with_defaults(own, defaults)


def _for_embedded_flink(asked: list[str]) -> list[str]:
    asked = with_defaults(asked, {"parallelism": str(processors())})
    ours = with_defaults(asked, {"flink_version": FLINK_VERSION})
    other_version = all_options(ours)["flink_version"] != FLINK_VERSION
    jar = flink_job_server()
    if other_version or not jar.exists() or has_option(asked, "flink_job_server_jar"):
        return asked
    return [*ours, f"--flink_job_server_jar={jar}"]
