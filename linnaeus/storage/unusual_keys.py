"""S3 keys that obstore cannot say, through boto3.

Rust's `object_store` refuses empty path segments (`a//b.jpg`), `.`, `..` and control characters,
and a single such key makes it refuse the whole listing. S3 allows them all.
"""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from linnaeus.storage import retries
from linnaeus.storage.uris import Entry, Page

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_odd(key: str) -> bool:
    """Whether obstore would refuse a key, or take it for another one."""
    return bool(_CONTROL.search(key)) or any(part in {"", ".", ".."} for part in key.split("/"))


def read(bucket: str, key: str, etag: str | None) -> bytes:
    """Read an object; raises botocore's ClientError."""
    condition = {"IfMatch": f'"{etag}"'} if etag else {}

    def ask() -> bytes:
        body: bytes = _client().get_object(Bucket=bucket, Key=key, **condition)["Body"].read()
        return body

    return retries.retry(ask, _breaks_off)


def _breaks_off(error: Exception) -> bool:
    """Whether the body was at fault, which boto3 does not ask for again."""
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    return isinstance(error, IncompleteReadError | ReadTimeoutError | ResponseStreamingError)


def head(bucket: str, key: str) -> Entry:
    """Describe an object by its whole key; raises botocore's ClientError."""
    return _entry(key, _client().head_object(Bucket=bucket, Key=key))


def pages(bucket: str, prefix: str, after: str | None) -> Iterator[list[Entry]]:
    """List everything whose key begins with `prefix`, behind the key `after`; whole keys."""
    start = {"StartAfter": after} if after else {}
    for found in _lists(Bucket=bucket, Prefix=prefix, **start):
        yield [_entry(item["Key"], item) for item in found.get("Contents", [])]


def page(bucket: str, prefix: str) -> Page:
    """List the objects and folders directly below `prefix`, which is '' or ends with a slash."""
    entries: list[Entry] = []
    folders: list[str] = []
    for found in _lists(Bucket=bucket, Prefix=prefix, Delimiter="/"):
        entries += [_entry(item["Key"], item) for item in found.get("Contents", [])]
        folders += [item["Prefix"].removesuffix("/") for item in found.get("CommonPrefixes", [])]
    return entries, folders


def _client() -> Any:
    return _open_client(tuple((k, v) for k, v in os.environ.items() if k.startswith("AWS_")))


@lru_cache(maxsize=8)
def _open_client(settings: tuple[tuple[str, str], ...]) -> Any:
    """A client, safe to share by threads; `standard` retries have jitter and a budget."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=retries.CONNECT_SECONDS,
        read_timeout=retries.SILENCE_SECONDS,
        retries={"total_max_attempts": 8, "mode": "standard"},
    )
    session = boto3.session.Session()
    return session.client("s3", endpoint_url=dict(settings).get("AWS_ENDPOINT_URL"), config=config)


def _lists(**request: Any) -> Any:
    return _client().get_paginator("list_objects_v2").paginate(**request)


def _entry(key: str, item: dict[str, Any]) -> Entry:
    size = item["Size"] if "Size" in item else item["ContentLength"]
    return Entry(key, size, item["ETag"].strip('"'), item["LastModified"])
