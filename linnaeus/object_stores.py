"""Objects in S3, Google Cloud Storage and Azure, through obstore (Rust `object_store`).

Settings come from the environment (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `GOOGLE_…`,
`AZURE_…`); where it has no AWS keys, boto3's chain (profiles, roles) supplies them.
"""
# ruff: noqa: D102 - the methods are documented where they are public, at `storage.Folder`

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import IO, Any

from linnaeus import odd_keys, patience
from linnaeus.errors import ConfigurationError, FailureCode, LinnaeusError, StorageError
from linnaeus.locations import Entry, Page, join, split_uri
from linnaeus.ranged_file import open_ranges

PAGE_KEYS = 1000
"""Keys of one list request, which is S3's limit."""

_DELTA_CAUSE = re.compile(r"\s{0,99}(?:\x1b\[\d{1,3}m)?↳(?:\x1b\[0m)?\s*")
"""delta-rs puts each cause of an error on a line of its own, in colour."""
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_IMPORTING = threading.Lock()
_SETTINGS = ("AWS_", "GOOGLE_", "AZURE_")


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple((k, v) for k, v in os.environ.items() if k.startswith(_SETTINGS))


def _obstore() -> Any:
    """The library, imported when it is first used, and by one thread at a time.

    Its modules import each other, which many threads at once do not survive.
    """
    with _IMPORTING:
        import obstore.exceptions
        import obstore.store

        return obstore


def open_store(scheme: str, bucket: str, write_seconds: int | None = None) -> Any:
    """Return the process's store of a bucket: one per bucket and settings, for reads or writes."""
    return _open_store(scheme, bucket, write_seconds, _environment())


@lru_cache(maxsize=64)
def _open_store(
    scheme: str, bucket: str, write_seconds: int | None, settings: tuple[tuple[str, str], ...]
) -> Any:
    obstore = _obstore()
    environment = dict(settings)
    client = patience.client_options(write_seconds) | {"allow_http": _allows_http(environment)}
    retries = patience.retry_config(write_seconds)
    options: dict[str, Any] = {"client_options": client, "retry_config": retries}
    if scheme == "s3":
        options |= _s3_credentials(environment)
    stores: dict[str, Any] = {
        "s3": obstore.store.S3Store,
        "gs": obstore.store.GCSStore,
        "az": obstore.store.AzureStore,
    }
    try:
        return stores[scheme](bucket, **options)
    except Exception as e:
        names = {"s3": "AWS_…", "gs": "GOOGLE_…", "az": "AZURE_STORAGE_ACCOUNT_NAME and …_KEY"}
        raise ConfigurationError(
            f"cannot use {scheme}://{bucket}: {_first_line(e)}: check {names[scheme]} in the "
            "environment"
        ) from e


def _allows_http(environment: dict[str, str]) -> bool:
    endpoint = environment.get("AWS_ENDPOINT_URL", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"AWS_ENDPOINT_URL={endpoint}: must begin with http:// or https://"
        )
    return endpoint.startswith("http://") or environment.get("AWS_ALLOW_HTTP", "").lower() == "true"


def _s3_credentials(environment: dict[str, str]) -> dict[str, Any]:
    if "AWS_ACCESS_KEY_ID" in environment or "AWS_SKIP_SIGNATURE" in environment:
        return {}
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return {"credential_provider": Boto3CredentialProvider()}
    except Exception as e:
        raise ConfigurationError(
            "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
            "for a public bucket AWS_SKIP_SIGNATURE=true"
        ) from e


def delta_options(scheme: str) -> dict[str, str]:
    """Return the settings that delta-rs needs beyond the environment it reads itself."""
    environment = dict(_environment())
    if scheme != "s3":
        return {}
    options = patience.delta_options()
    if _allows_http(environment):
        options["AWS_ALLOW_HTTP"] = "true"
    provider = _s3_credentials(environment).get("credential_provider")
    if provider is None:
        return options
    keys = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    credential = provider()
    options |= {name: credential[key] for key, name in keys.items()}
    if credential.get("token"):
        options["AWS_SESSION_TOKEN"] = credential["token"]
    if region := provider.config.get("region"):
        options["AWS_REGION"] = region
    return options


@contextmanager
def translated(doing: str, uri: str) -> Iterator[None]:
    """Turn what obstore, boto3 and delta-rs raise into a `StorageError` of one line, with a remedy.

    Raises:
        StoreUnavailable: the bucket has given no answers for too long.
    """
    budget = patience.budget_of(_bucket_of(uri))
    try:
        yield
    except LinnaeusError:
        raise
    except Exception as e:
        error = _storage_error(doing, uri, e)
        error.__cause__ = e
        if _refuses(e):
            budget.answered()
        else:
            budget.failed(error)
        raise error from e
    budget.answered()


def _bucket_of(uri: str) -> str:
    return "/".join(uri.split("/")[:3])


def breaks_off(error: Exception) -> bool:
    """Whether an answer came only in part, to a request that obstore does not repeat."""
    return "response body error" in str(error)


def got_no_answer(error: Exception) -> bool:
    """Whether a request waited in vain, which obstore does not repeat where it wrote."""
    return "kind: Timeout" in str(error) or "timed out" in str(error)


def _refuses(error: Exception) -> bool:
    """Whether the store said that it will not, however often it is asked."""
    status = _status(error)
    return status.startswith(("3", "4")) and status not in {"408", "429"}


def _status(error: Exception) -> str:
    """HTTP status of an error of obstore, delta-rs or boto3; empty if it has none."""
    answer = getattr(error, "response", None) or {}  # boto3's
    found = _first(r"status code: (\d{3})", str(error))
    return found or str(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def _storage_error(doing: str, uri: str, error: Exception) -> StorageError:
    code, problem = _diagnosis(uri, error)
    return StorageError(f"cannot {doing} {uri}: {problem}", code)


def _diagnosis(uri: str, error: Exception) -> tuple[FailureCode, str]:
    text = _COLOUR.sub("", _DELTA_CAUSE.sub(": ", str(error)))
    answer = getattr(error, "response", None) or {}  # boto3's
    status = _status(error)
    reason = _first(r"<Code>(\w+)</Code>", text) or answer.get("Error", {}).get("Code") or status
    bucket = _bucket_of(uri)
    if isinstance(error, _obstore().exceptions.PreconditionError) or status == "412":
        return FailureCode.CHANGED, "it changed since it was listed: run again"
    if reason == "NoSuchBucket":
        return FailureCode.NOT_FOUND, f"no bucket {bucket}: check its name and AWS_ENDPOINT_URL"
    if isinstance(error, FileNotFoundError) or status == "404":
        return FailureCode.NOT_FOUND, "there is no such object"
    if status in {"401", "403"}:
        remedy = f"check the credentials and what they may do in {bucket}"
        return FailureCode.ACCESS_DENIED, f"access denied ({reason}): {remedy}"
    if status in {"429", "503"}:
        return FailureCode.THROTTLED, f"the store is too busy ({reason}): run again"
    if status == "301":
        return FailureCode.SERVER_ERROR, "the bucket is in another region: set AWS_REGION"
    if "kind: Connect" in text:
        endpoint = _first(r"(https?://[^/ ]+)", text)
        return FailureCode.TIMEOUT, f"no answer from {endpoint}: check the endpoint and the network"
    if "kind: Timeout" in text or "timed out" in text or "imeout" in type(error).__name__:
        return FailureCode.TIMEOUT, "no answer in time: run again"
    return FailureCode.SERVER_ERROR, f"the store failed: {reason or text.partition(chr(10))[0]}"


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def entry_of(key: str, meta: Any) -> Entry:
    """Describe an object by obstore's `ObjectMeta`; etags lose their quotes."""
    return Entry(key, meta["size"], (meta["e_tag"] or "").strip('"'), meta["last_modified"])


def _whole(ask: Callable[[], Any]) -> bytes:
    """An answer's body, asked for again where it ended early, which obstore does once alone."""
    return bytes(patience.persistently(ask, breaks_off))


class Bucket:
    """The objects below one prefix of a bucket; keys are relative to the prefix."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._scheme, self._bucket, self._prefix = split_uri(uri)

    @property
    def _store(self) -> Any:
        return open_store(self._scheme, self._bucket)

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix and key else self._prefix or key

    def _is_odd(self, path: str) -> bool:
        return self._scheme == "s3" and odd_keys.is_odd(path)

    def _translated(self, doing: str, key: str) -> Any:
        return translated(doing, join(self._uri, key))

    def read(self, key: str, etag: str | None = None) -> bytes:
        options: Any = {} if etag is None else {"if_match": f'"{etag}"'}
        path = self._path(key)
        with self._translated("read", key):
            if self._is_odd(path):
                return odd_keys.read(self._bucket, path, etag)
            return _whole(lambda: self._store.get(path, options=options).bytes())

    def read_range(self, key: str, start: int, end: int) -> bytes:
        with self._translated("read", key):
            return _whole(lambda: self._store.get_range(self._path(key), start=start, end=end))

    def open(self, key: str) -> IO[bytes]:
        found = self.head(key)
        if found is None:
            uri = join(self._uri, key)
            raise StorageError(f"cannot read {uri}: there is no such object", FailureCode.NOT_FOUND)
        return open_ranges(partial(self.read_range, key), found.size)

    def write_new(self, key: str, data: bytes | memoryview) -> bool:
        with self._translated("write", key):
            try:
                self._put(key, data, "create")
            except _obstore().exceptions.AlreadyExistsError:
                return False
        return True

    def write(self, key: str, data: bytes) -> None:
        with self._translated("write", key):
            self._put(key, data, "overwrite")

    def _put(self, key: str, data: bytes | memoryview, mode: Any) -> None:
        """Write; obstore itself does not repeat a write that got no answer in time."""
        store = open_store(self._scheme, self._bucket, patience.write_seconds(len(data)))
        patience.persistently(
            lambda: store.put(self._path(key), data, mode=mode),
            got_no_answer,
            patience.SILENT_WRITES,
        )

    def head(self, key: str) -> Entry | None:
        path = self._path(key)
        try:
            with self._translated("read", key):
                if self._is_odd(path):
                    return self._relative(odd_keys.head(self._bucket, path))
                return entry_of(key, self._store.head(path))
        except StorageError as e:
            if e.code is FailureCode.NOT_FOUND:
                return None
            raise

    def walk(self, prefix: str = "") -> Iterator[Entry]:
        for page in self.pages(prefix.strip("/")):
            yield from page

    def pages(self, folder: str = "", after: str | None = None) -> Iterator[list[Entry]]:
        """List everything below a folder, page by page, from the key behind `after` on."""
        offset = None if after is None else self._path(after)
        with self._translated("list", folder):
            for page in self._whole_pages(self._path(folder), offset):
                yield [self._relative(entry) for entry in page]

    def _whole_pages(self, path: str, offset: str | None) -> Iterator[list[Entry]]:
        from obstore.exceptions import InvalidPathError

        try:
            _require_plain(path)
            yield from self._plain_pages(path, offset)
        except InvalidPathError:
            if self._scheme != "s3":
                raise
            yield from odd_keys.pages(self._bucket, f"{path}/" if path else "", offset)

    def _plain_pages(self, path: str, offset: str | None) -> Iterator[list[Entry]]:
        """List through obstore; where an answer breaks off, from the last key that came."""
        failures = 0
        while True:
            try:
                for metas in self._store.list(path or None, offset=offset, chunk_size=PAGE_KEYS):
                    page = [entry_of(meta["path"], meta) for meta in metas]
                    yield page
                    offset, failures = max((entry.key for entry in page), default=offset), 0
            except Exception as error:
                failures += 1
                if not breaks_off(error) or failures == patience.BROKEN_ANSWERS:
                    raise
                patience.wait(failures)
            else:
                return

    def page(self, folder: str) -> Page:
        """List one folder: the objects directly in it, and the keys of its sub-folders."""
        with self._translated("list", folder):
            entries, folders = self._whole_page(self._path(folder))
        return [self._relative(entry) for entry in entries], [self._key(name) for name in folders]

    def _whole_page(self, path: str) -> Page:
        from obstore.exceptions import InvalidPathError

        try:
            _require_plain(path)
            found = patience.persistently(
                lambda: self._store.list_with_delimiter(path or None), breaks_off
            )
        except InvalidPathError:
            if self._scheme != "s3":
                raise
            return odd_keys.page(self._bucket, f"{path}/" if path else "")
        return [entry_of(meta["path"], meta) for meta in found["objects"]], found["common_prefixes"]

    def folders(self, prefix: str = "") -> list[str]:
        return sorted(key.rpartition("/")[2] for key in self.page(prefix.strip("/"))[1])

    def delete(self, key: str) -> None:
        with self._translated("delete", key):
            try:
                self._store.delete(self._path(key))
            except FileNotFoundError:
                return

    def _relative(self, entry: Entry) -> Entry:
        return Entry(self._key(entry.key), entry.size, entry.etag, entry.modified)

    def _key(self, path: str) -> str:
        return path[len(self._prefix) + 1 :] if self._prefix else path


def _require_plain(path: str) -> None:
    """Refuse what obstore would take for another path, as it refuses what it cannot say."""
    from obstore.exceptions import InvalidPathError

    if path and odd_keys.is_odd(path):
        raise InvalidPathError(path)
