"""What a method and a path ask for.

Follows `model_servers/http_rest_api_util.cc`: words of a path may be in any case, names may not,
and a query is part of the path.
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from serving.grpc_status import invalid_argument

_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<action>classify|regress|predict)", re.IGNORECASE
)
_QUESTION = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<action>metadata))?", re.IGNORECASE
)
_MOST_VERSION = 2**63 - 1


@dataclass(frozen=True)
class Route:
    """One call: `action` is predict, classify, regress, status or metadata."""

    action: str
    name: str
    version: int | None
    label: str | None

    def fill(self, model_spec: Any) -> None:
        """Write what the path says into a ModelSpec."""
        model_spec.name = self.name
        if self.version is not None:
            model_spec.version.value = self.version
        if self.label is not None:
            model_spec.version_label = self.label


def is_served(path: str) -> bool:
    """Whether a path is the interface's; others are not even malformed."""
    return path[:4].lower() == "/v1/"


def route_of(method: str, path: str) -> Route:
    """The call that a request makes.

    Raises:
        StatusError: INVALID_ARGUMENT, none is written so.
    """
    pattern = {"POST": _CALL, "GET": _QUESTION}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    # TensorFlow Serving finds a call's word in any case, but then knows it in small letters only.
    if match is None or (method == "POST" and not match["action"].islower()):
        raise invalid_argument(f"Malformed request: {method} {path}")
    if not match["name"]:
        raise invalid_argument("Missing model name in request.")
    action = match["action"] or "status"
    return Route(
        action if action in {"predict", "classify", "regress", "metadata"} else "status",
        unquote(match["name"]),
        _version(match["version"]),
        match["label"] and unquote(match["label"]),
    )


def _version(digits: str | None) -> int | None:
    if digits is None:
        return None
    # Cut first: Python refuses to read very long numbers.
    version = int(digits.lstrip("0")[:20] or 0)
    if version > _MOST_VERSION:
        raise invalid_argument(f"Failed to convert version: {digits} to numeric.")
    return version
