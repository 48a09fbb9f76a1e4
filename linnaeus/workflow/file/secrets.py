"""Secrets that somebody wrote into a workflow file, which is kept and shown where many can read.

A message about one says what it looks like and never what it is.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from linnaeus.workflow.file.toml_lines import Path

_REMEDY = (
    "secrets stay out of this file: credentials come from the environment or the machine's role"
)
_WEB_REMEDY = "secrets stay out of this file: write an address without one"
_KINDS = (
    (r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])", "an AWS access key id", _REMEDY),
    (r"://[^/?#\s]*@", "an address with a user or a password", _WEB_REMEDY),
    (
        r"(?i)[?&;](?:[a-z0-9_.-]*(?:token|signature|secret|password|passwd|credential)"
        r"|sig|api[_-]?key|key)=[^&\s]",
        "an address with a token or a signature",
        _WEB_REMEDY,
    ),
    (
        r"(?i)^--(?=[a-z0-9_.-]*(?:password|secret|token|api[_-]?key))[a-z0-9_.-]*=.",
        "a secret option",
        _REMEDY,
    ),
    (r"hooks\.slack\.com/|/api/webhooks/|\.webhook\.office\.com/", "a webhook's address", ""),
    (
        r"-----BEGIN |AccountKey=|\bgh[pousr]_[A-Za-z0-9]{20}|\bxox[abprs]-|\bglpat-"
        r"|\bAIza[A-Za-z0-9_-]{35}",
        "a secret",
        _REMEDY,
    ),
)
_PATTERNS = tuple((re.compile(pattern), what, remedy) for pattern, what, remedy in _KINDS)
_WEBHOOK_REMEDY = (
    "it stays out of this file: write env:VARIABLE as notifications.webhook, and set that variable "
    "where the job runs"
)
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_MIXTURE = {"[a-z]": range(8, 41), "[A-Z]": range(10, 41), "[0-9]": range(1, 41), "/": range(4)}
"""How many of each kind forty random characters have; few paths and no hash are so."""
_NAMES = re.compile(r"(?i)password|passwd|secret|token|credential|access_?key|api_?key")


def secrets_in(document: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Where values look like secrets, and what to say of each."""
    for path, text in _texts((), document):
        if reason := _reason_of(text):
            yield path, reason


def is_secret_name(key: str) -> bool:
    """Whether a key asks for a secret, whatever its value is."""
    return _NAMES.search(key) is not None


def _texts(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts((*path, key), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts((*path, number), inner)


def _reason_of(text: str) -> str | None:
    for pattern, what, remedy in _PATTERNS:
        if pattern.search(text):
            return f"looks like {what}: {remedy or _WEBHOOK_REMEDY}"
    if any(_is_mixed(match.group()) for match in _AWS_SECRET.finditer(text)):
        return f"looks like an AWS secret access key: {_REMEDY}"
    return None


def _is_mixed(text: str) -> bool:
    return all(len(re.findall(kind, text)) in counts for kind, counts in _MIXTURE.items())
