"""Objects in S3, Google Cloud Storage and Azure, through obstore (Rust `object_store`).

Settings come from the environment (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `GOOGLE_…`,
`AZURE_…`); where it has no AWS keys, boto3's chain (profiles, roles) supplies them.
"""

# ruff: noqa: D102 - the methods are documented where they are public, at `storage.Folder`

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from tempfile import TemporaryFile
from typing import IO, Any

from linnaeus.errors import ConfigurationError, FailureCode, StorageError
from linnaeus.storage import retries, unusual_keys
from linnaeus.storage.range_reader import open_ranges
from linnaeus.storage.store_errors import (
    breaks_off,
    first_line,
    got_no_answer,
    import_obstore,
    map_store_errors,
)
from linnaeus.storage.uris import Entry, Page, join, split_uri

PAGE_KEYS = 1000
"""Keys of one list request, which is S3's limit."""

_SETTINGS = ("AWS_", "GOOGLE_", "AZURE_")


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple((k, v) for k, v in os.environ.items() if k.startswith(_SETTINGS))


def open_store(scheme: str, bucket: str, write_seconds: int | None = None) -> Any:
    """Return the process's store of a bucket: one per bucket and settings, for reads or writes."""
    return _open_store(scheme, bucket, write_seconds, _environment())


@lru_cache(maxsize=64)
def _open_store(
    scheme: str, bucket: str, write_seconds: int | None, settings: tuple[tuple[str, str], ...]
) -> Any:
    obstore = import_obstore()
    environment = dict(settings)
    client = retries.client_options(write_seconds) | {"allow_http": _allows_http(environment)}
    repeated = retries.retry_config(write_seconds)
    options: dict[str, Any] = {"client_options": client, "retry_config": repeated}
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
            f"cannot use {scheme}://{bucket}: {first_line(e)}: check {names[scheme]} in the "
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
    options = retries.delta_options()
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


def entry_of(key: str, meta: Any) -> Entry:
    """Describe an object by obstore's `ObjectMeta`; etags lose their quotes."""
    return Entry(key, meta["size"], (meta["e_tag"] or "").strip('"'), meta["last_modified"])


def _whole(ask: Callable[[], Any]) -> bytes:
    """An answer's body, asked for again where it ended early, which obstore does once alone."""
    return bytes(retries.retry(ask, breaks_off))


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
        return self._scheme == "s3" and unusual_keys.is_odd(path)

    def _map_errors(self, doing: str, key: str) -> Any:
        return map_store_errors(doing, join(self._uri, key))

    def read(self, key: str, etag: str | None = None) -> bytes:
        options: Any = {} if etag is None else {"if_match": f'"{etag}"'}
        path = self._path(key)
        with self._map_errors("read", key):
            if self._is_odd(path):
                return unusual_keys.read(self._bucket, path, etag)
            return _whole(lambda: self._store.get(path, options=options).bytes())

    def read_range(self, key: str, start: int, end: int) -> bytes:
        with self._map_errors("read", key):
            return _whole(lambda: self._store.get_range(self._path(key), start=start, end=end))

    def open(self, key: str) -> IO[bytes]:
        if self._is_odd(self._path(key)):
            return io.BytesIO(self.read(key))
        found = self.head(key)
        if found is None:
            uri = join(self._uri, key)
            raise StorageError(f"cannot read {uri}: there is no such object", FailureCode.NOT_FOUND)
        return open_ranges(partial(self.read_range, key), found.size)

    def write_new(self, key: str, data: bytes | memoryview) -> bool:
        with self._map_errors("write", key):
            try:
                self._put(key, data, "create")
            except import_obstore().exceptions.AlreadyExistsError:
                return False
        return True

    def write(self, key: str, data: bytes) -> None:
        with self._map_errors("write", key):
            self._put(key, data, "overwrite")

    @contextmanager
    def writing(self, key: str) -> Iterator[IO[bytes]]:
        with TemporaryFile(prefix="linnaeus-") as file:
            yield file
            with self._map_errors("write", key):
                self._put(key, file, "overwrite")

    def sweep(self) -> None:
        """Nothing: an object is whole, or it is not there."""

    def _put(self, key: str, data: bytes | memoryview | IO[bytes], mode: Any) -> None:
        """Write; obstore itself does not repeat a write that got no answer in time."""
        size = len(data) if isinstance(data, bytes | memoryview) else data.seek(0, os.SEEK_END)
        store = open_store(self._scheme, self._bucket, retries.write_seconds(size))

        def put() -> None:
            if not isinstance(data, bytes | memoryview):
                data.seek(0)
            store.put(self._path(key), data, mode=mode)

        retries.retry(put, got_no_answer, retries.SILENT_WRITES)

    def head(self, key: str) -> Entry | None:
        path = self._path(key)
        try:
            with self._map_errors("read", key):
                if self._is_odd(path):
                    return self._relative(unusual_keys.head(self._bucket, path))
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
        with self._map_errors("list", folder):
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
            yield from unusual_keys.pages(self._bucket, f"{path}/" if path else "", offset)

    def _plain_pages(self, path: str, offset: str | None) -> Iterator[list[Entry]]:
        """List through obstore; where an answer breaks off, from the last key that came."""
        pages: Iterator[Any] | None = None

        def ask() -> Any:
            nonlocal pages
            try:
                pages = pages or iter(
                    self._store.list(path or None, offset=offset, chunk_size=PAGE_KEYS)
                )
                return next(pages, None)
            except Exception:
                pages = None
                raise

        while (metas := retries.retry(ask, breaks_off)) is not None:
            page = [entry_of(meta["path"], meta) for meta in metas]
            yield page
            offset = max((entry.key for entry in page), default=offset)

    def page(self, folder: str) -> Page:
        """List one folder: the objects directly in it, and the keys of its sub-folders."""
        with self._map_errors("list", folder):
            entries, folders = self._whole_page(self._path(folder))
        return [self._relative(entry) for entry in entries], [self._key(name) for name in folders]

    def _whole_page(self, path: str) -> Page:
        from obstore.exceptions import InvalidPathError

        try:
            _require_plain(path)
            found = retries.retry(lambda: self._store.list_with_delimiter(path or None), breaks_off)
        except InvalidPathError:
            if self._scheme != "s3":
                raise
            return unusual_keys.page(self._bucket, f"{path}/" if path else "")
        return [entry_of(meta["path"], meta) for meta in found["objects"]], found["common_prefixes"]

    def folders(self, prefix: str = "") -> list[str]:
        return sorted(key.rpartition("/")[2] for key in self.page(prefix.strip("/"))[1])

    def delete(self, key: str) -> None:
        with self._map_errors("delete", key):
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

    if path and unusual_keys.is_odd(path):
        raise InvalidPathError(path)
