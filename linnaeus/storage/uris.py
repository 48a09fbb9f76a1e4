"""Where objects lie: URIs and local paths as text, and what a listing says of an object.

A location is `s3://bucket/key`, `gs://bucket/key`, `az://container/key` or an absolute local path.
Keys are kept as written: nothing is percent-encoded or decoded here.
"""

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from linnaeus.errors import ConfigurationError, FailureCode, StorageError

REMOTE_SCHEMES = ("s3", "gs", "az")


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as a listing saw it; `key` is relative to the folder that was listed."""

    key: str
    size: int
    etag: str
    modified: datetime


def absent(key: str) -> Entry:
    """Stand in for an object that cannot be described: etag "" and size 0."""
    return Entry(key, 0, "", datetime.fromtimestamp(0, UTC))


Page = tuple[list[Entry], list[str]]
"""What lies directly in one folder: its objects, and the keys of its sub-folders."""


def normalise(text: str) -> str:
    """Turn what a person types into a location: absolute, without a trailing slash."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        if not text:
            raise ConfigurationError("an empty name is no folder: name one, or '.' for this one")
        return _absolute(text)
    if scheme == "file":
        return _absolute("/" + rest.lstrip("/"))
    if scheme not in REMOTE_SCHEMES:
        raise ConfigurationError(
            f"{text}: cannot read {scheme}://; use a folder, s3://, gs:// or az://"
        )
    if not rest.strip("/"):
        raise ConfigurationError(f"{text}: the bucket is missing, as in {scheme}://bucket/folder")
    return f"{scheme}://{rest.strip('/')}"


def _absolute(path: str) -> str:
    absolute = posixpath.abspath(os.path.expanduser(path))  # noqa: PTH111 - text stays text
    return "/" + absolute.lstrip("/")


def join(root: str, *parts: str) -> str:
    """Append key segments to a location; empty parts add nothing."""
    return "/".join([root.rstrip("/"), *(part.strip("/") for part in parts if part)]) or "/"


def inside(root: str, key: str) -> str:
    """The path of a key below a local folder; `StorageError` if it leads out, or is no name.

    A store may have any key, and whoever writes there chooses it.
    """
    if ".." in key.split("/") or "\0" in key:
        problem = f"{key!r} is no name of a file in {root}: remove it where it comes from"
        raise StorageError(problem, FailureCode.NOT_FOUND)
    return join(root, key)


def outer_of(location: str, others: Mapping[str, str | None]) -> str | None:
    """By name the first of other places that a location lies in or is; None where it is apart."""
    inner = f"{normalise(location)}/"
    named = ((name, normalise(other).rstrip("/")) for name, other in others.items() if other)
    return next((name for name, outer in named if inner.startswith(f"{outer}/")), None)


def is_local(uri: str) -> bool:
    """Whether a normalised location is a path of this machine."""
    return "://" not in uri


def parent(uri: str) -> str:
    """Return the folder a location lies in; a bucket (or `/`) is its own parent."""
    if is_local(uri):
        return posixpath.dirname(uri)
    scheme, bucket, key = split_uri(uri)
    return join(f"{scheme}://{bucket}", posixpath.dirname(key))


def split_uri(uri: str) -> tuple[str, str, str]:
    """Split a remote location into scheme, bucket and key (empty for the bucket itself)."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return scheme, bucket, key
