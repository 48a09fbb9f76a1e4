"""S3 keys that obstore cannot say, through boto3.

Rust's `object_store` refuses empty path segments (`a//b.jpg`), `.`, `..` and control characters,
and a single such key makes it refuse the whole listing. S3 allows them all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from linnaeus.locations import Entry, Page

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_odd(key: str) -> bool:
    """Whether obstore would refuse a key, or take it for another one."""
    return bool(_CONTROL.search(key)) or any(part in {"", ".", ".."} for part in key.split("/"))


def read(bucket: str, key: str, etag: str | None) -> bytes:
    """Read an object; raises botocore's ClientError."""
    condition = {"IfMatch": f'"{etag}"'} if etag else {}
    body: bytes = _client().get_object(Bucket=bucket, Key=key, **condition)["Body"].read()
    return body


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
    import boto3
    from botocore.config import Config

    settings = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 5})
    return boto3.client("s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL"), config=settings)


def _lists(**request: Any) -> Any:
    return _client().get_paginator("list_objects_v2").paginate(**request)


def _entry(key: str, item: dict[str, Any]) -> Entry:
    size = item["Size"] if "Size" in item else item["ContentLength"]
    return Entry(key, size, item["ETag"].strip('"'), item["LastModified"])
