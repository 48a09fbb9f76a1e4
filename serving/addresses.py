"""Addresses of model servers, as text."""

import re

from linnaeus.errors import ConfigurationError

_PORT = re.compile(r".*[^:/]:(\d{1,5})", re.DOTALL)
_WITHOUT_PORT = ("unix:", "unix-abstract:", "vsock:", "xds:")
"""Targets of gRPC that name a server otherwise."""


def check_address(address: str) -> None:
    """Refuse by `ConfigurationError`, without repeating it, what is no address of a gRPC server."""
    if address.startswith(_WITHOUT_PORT):
        return
    if address.startswith(("http://", "https://")):
        raise ConfigurationError("a model server is asked by gRPC: HOST:PORT, or grpcs://HOST:PORT")
    port = _PORT.fullmatch(address)
    if port is None:
        raise ConfigurationError("the server's port is missing: write HOST:PORT, as localhost:8500")
    if not 0 < int(port[1]) <= 65_535:
        raise ConfigurationError(f"{port[1]} is no port: they go from 1 to 65535")
