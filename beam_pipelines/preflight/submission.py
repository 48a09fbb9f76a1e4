"""What is to be submitted, and where the options send it; nothing is asked or opened here."""

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from beam_pipelines.runners import all_options, runner_name
from beam_pipelines.runners.downloaded import EMBEDDED, with_fetched
from linnaeus.errors import ConfigurationError
from linnaeus.planning import Job
from linnaeus.storage import is_local, normalise, outer_of
from serving.addresses import check_address

ON_THIS_MACHINE = frozenset({"fnapi", "direct", "prism", "interactive", "switchingdirect"})
"""Runners whose workers are this process or its children."""


@dataclass(frozen=True)
class Address:
    """A host and a port, as a person names them."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str | None) -> "Address | None":
        """From `host:port`, with or without a scheme; None for what is no address."""
        if not text:
            return None
        try:
            parts = urlsplit(text if "://" in text else f"//{text}")
            port = parts.port
        except ValueError:
            return None
        return cls(parts.hostname, port) if parts.hostname and port else None

    @property
    def is_loopback(self) -> bool:
        """Whether it means another machine on every machine."""
        try:
            address = ip_address(self.host)
            return address.is_loopback or address.is_unspecified
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class Submission:
    """What somebody is about to submit."""

    job: type[Job]
    workspace: str
    images: str
    output: str | None = None
    server: str | None = None
    beam_options: tuple[str, ...] = ()
    flink: str | None = None
    """Where Flink's REST interface answers, if the options do not say so."""

    def __post_init__(self) -> None:
        others = {"the images": self.images, "the workspace": self.workspace}
        if self.output and (outer := outer_of(self.output, others)):
            raise ConfigurationError(f"--output lies inside {outer}: name a folder beside it")
        if self.server:
            check_address(self.server)

    @property
    def locations(self) -> dict[str, str]:
        """What workers read and write, normalised, by the word for it."""
        named = {"workspace": self.workspace, "images": self.images, "output": self.output}
        return {name: normalise(uri) for name, uri in named.items() if uri}


@dataclass(frozen=True)
class Target:
    """Where the options send a pipeline."""

    runner: str
    """As `beam_pipelines.runners.options.runner_name` has it."""
    options: dict[str, Any]
    """Beam's options by name, with its defaults."""
    flink: Address | None = None
    """Flink's REST interface."""

    @property
    def job_server(self) -> Address | None:
        """The job server that runs already."""
        return Address.parse(self.options["job_endpoint"])

    @property
    def environment(self) -> str:
        """Who runs Python: LOOPBACK, EXTERNAL, PROCESS or DOCKER."""
        named = self.options["environment_type"]
        if named:
            return str(named).upper()
        inside = self.runner == "flink" and self.options["flink_master"] in EMBEDDED
        return "LOOPBACK" if inside or self.is_local_runner else "DOCKER"

    @property
    def worker_pool(self) -> Address | None:
        """The pool that an EXTERNAL environment names."""
        if self.environment != "EXTERNAL":
            return None
        for option in self.options["environment_options"] or []:
            name, _, value = option.partition("=")
            if name == "external_service_address":
                return Address.parse(value)
        text = self.options["environment_config"] or ""
        if text.lstrip().startswith("{"):
            text = json.loads(text).get("url", "")
        return Address.parse(text)

    @property
    def is_local_runner(self) -> bool:
        """Whether no cluster is asked at all."""
        return self.runner in ON_THIS_MACHINE

    @property
    def cluster(self) -> Address | None:
        """What best tells where the workers are."""
        return self.flink or self.job_server

    @property
    def workers_are_here(self) -> bool:
        """Whether workers share this machine's files and its loopback addresses.

        A container shares neither. What a loopback address is forwarded to cannot be seen.
        """
        if self.runner == "dataflow":
            return False
        if self.environment == "LOOPBACK":
            return True
        if self.cluster is None and self.runner == "spark":
            return str(self.options["spark_master_url"]).startswith("local")
        near = self.cluster is None or self.cluster.is_loopback
        return near and self.environment != "DOCKER"

    @property
    def may_be_flink(self) -> bool:
        """Whether Flink is, or may stand, behind the options."""
        return self.runner == "flink" or (self.runner == "portable" and bool(self.job_server))


def target_of(submission: Submission) -> Target:
    """Read the Beam options of a submission."""
    options = all_options(with_fetched(submission.beam_options))
    master = options["flink_master"]
    named = None if master in EMBEDDED else Address.parse(master)
    runner = runner_name(submission.beam_options)
    flink = Address.parse(submission.flink) or (named if runner == "flink" else None)
    return Target(runner, options, flink)


def local_ones(submission: Submission) -> dict[str, str]:
    """Locations of a submission that are paths."""
    return {name: uri for name, uri in submission.locations.items() if is_local(uri)}
