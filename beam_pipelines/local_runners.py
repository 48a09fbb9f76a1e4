"""Runners that are programs of their own, once they have been fetched to this machine.

`make runners` fetches them; what a person names by Beam's options always comes first.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from beam_pipelines.options import has_option, runner_name
from linnaeus.engines import processors

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
    if runner == "flink" and _value(asked, "flink_master", EMBEDDED[0]) in EMBEDDED:
        return _for_embedded_flink(asked)
    return asked


def _for_prism(asked: list[str]) -> list[str]:
    """A server of the run's own, so that it can be stopped; the time limit is that of a job."""
    own = [*asked, "--experiments=disable_prism_server_singleton"]
    defaults = {"job_server_timeout": str(PRISM_JOB_SECONDS)}
    if prism().exists():
        defaults["prism_location"] = str(prism())
    return _added(own, defaults)


def _for_embedded_flink(asked: list[str]) -> list[str]:
    asked = _added(asked, {"parallelism": str(processors())})
    version = _value(asked, "flink_version", FLINK_VERSION)
    if not flink_job_server().exists() or version != FLINK_VERSION:
        return asked
    if has_option(asked, "flink_job_server_jar"):
        return asked
    jar = {"flink_job_server_jar": str(flink_job_server()), "flink_version": FLINK_VERSION}
    return _added(asked, jar)


def _added(arguments: list[str], defaults: dict[str, str]) -> list[str]:
    missing = [
        f"--{name}={value}" for name, value in defaults.items() if not has_option(arguments, name)
    ]
    return [*arguments, *missing]


def _value(arguments: Sequence[str], name: str, default: str) -> str:
    """An option's value, given as `--name=value` or `--name value`; its last one counts."""
    value = default
    for one, following in zip(arguments, [*arguments[1:], ""], strict=True):
        given, equals, text = one.partition("=")
        if given == f"--{name}":
            value = text if equals else following
    return value
