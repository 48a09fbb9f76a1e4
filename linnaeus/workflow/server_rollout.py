"""Waiting until a model server, or each of the several behind one name, has a new version."""

import socket
import time
from collections.abc import Sequence

from linnaeus.errors import ServingError
from linnaeus.models import Model
from linnaeus.progress import Progress, count_text, duration_text
from serving.client.channels import SECURE

LOOK_SECONDS = 2.0
_BY_NAME = "dns:///"
"""Before `HOST:PORT` where gRPC is told to ask for all addresses of a name."""


def wait_for(server: str, model: Model, minutes: float, progress: Progress) -> str:
    """Wait until every server has the version; what to say of it.

    Raises:
        ServingError: one has not within that time.
    """
    started = time.monotonic()
    with progress.step("Wait for the model server", None):
        while True:
            missing = _missing(server, model)
            seconds = time.monotonic() - started
            if not missing:
                servers = count_text(len(addresses(server)), "servers")
                return f"{servers} at {server} loaded it within {duration_text(seconds)}"
            if seconds > minutes * 60:
                raise ServingError(
                    f"{missing[0]} has not loaded {model.name}:{model.version} within "
                    f"{minutes:g} minutes: look at its log and at the folder it watches, then run "
                    "the same command again"
                )
            time.sleep(LOOK_SECONDS)


def addresses(server: str) -> Sequence[str]:
    """Every server behind `HOST:PORT` or `dns:///HOST:PORT`.

    By TLS only the name itself, which its certificate has.
    """
    host, _, port = server.removeprefix(_BY_NAME).rpartition(":")
    if server.startswith(SECURE) or not port.isdigit():
        return [server]
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError:  # the name may come with the first server
        return [server]
    families = {address[0] for *_, address in addresses}
    return sorted(f"[{one}]:{port}" if ":" in str(one) else f"{one}:{port}" for one in families)


def _missing(server: str, model: Model) -> list[str]:
    return [one for one in addresses(server) if not _has(one, model)]


def _has(address: str, model: Model) -> bool:
    from serving.client import ScoringClient

    with ScoringClient(address, channels=1, in_flight=1, connect_seconds=1.0) as client:
        try:
            client.resolve_version(model.name, model.version)
        except ServingError:
            return False
        return True
