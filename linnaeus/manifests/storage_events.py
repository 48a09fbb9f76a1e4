"""Files that say which objects may have changed: events of an object store, or lists of keys.

Each line is an event in JSON, several of them, or the key or URI of an object; a file may also be
one JSON document. Events may come as S3, EventBridge or Google Cloud Storage (Pub/Sub) make them,
or as SNS, SQS or Lambda wrapped them.

Formats: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
and https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

import gzip
import io
import json
import posixpath
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast
from urllib.parse import unquote_plus

from linnaeus.errors import ConfigurationError
from linnaeus.manifests.listing import is_hidden
from linnaeus.storage import REMOTE_SCHEMES, Folder, is_local, join, normalise, parent, split_uri

_S3_EVENTS = ("ObjectCreated:", "ObjectRemoved:", "LifecycleExpiration:")
_BRIDGE_EVENTS = ("Object Created", "Object Deleted")
_SHOWN_CHARACTERS = 60
_PUBLISHED_EVENTS = ("OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE")

Uris = Iterator[str | None]
"""Of objects; None for an event of no object, or of a kind that changes none."""


def read_changes(changes: str, source: str) -> Uris:
    """The URIs that a file, or each file in a folder, names; an object may come several times.

    Args:
        changes: the file or folder, on this machine or in an object store.
        source: whose objects they are. A line without a scheme is a key in its bucket, or a path
            below it where it is a folder of this machine.

    Raises:
        ConfigurationError: there is no such file, or it has a line that is none of all this.
        StorageError: it cannot be read.
    """
    root = source if is_local(source) else "{}://{}".format(*split_uri(source)[:2])
    for folder, key in _files(changes):
        name = folder.uri_of(key)
        with _opened(folder, key) as file:
            yield from _Reader(name, root).read(file)


def _files(changes: str) -> Iterator[tuple[Folder, str]]:
    """The file itself, or the files in a folder, however deep."""
    name = normalise(changes)
    above, key = Folder(parent(name)), posixpath.basename(name)
    if not changes.endswith("/") and key and above.head(key):
        yield above, key
        return
    folder = Folder(name)
    keys = sorted(entry.key for entry in folder.list() if not is_hidden(entry.key))
    if not keys and not changes.endswith("/"):
        raise ConfigurationError(
            f"there is no file {name}, and nothing in a folder of that name: check the name, or "
            "end it with / where an empty folder says that nothing changed"
        )
    yield from ((folder, key) for key in keys)


@contextmanager
def _opened(folder: Folder, key: str) -> Iterator[IO[bytes]]:
    with folder.open(key) as file:
        if not key.endswith(".gz"):
            yield file
            return
        with gzip.open(file) as unpacked:
            yield cast(IO[bytes], unpacked)


class _Malformed(Exception):  # noqa: N818 - never leaves this module
    """What a piece of a file is not."""


class _Reader:
    """Reads one file."""

    def __init__(self, name: str, root: str) -> None:
        self._name, self._root = name, root

    def read(self, file: IO[bytes]) -> Uris:
        try:
            yield from self._all(self._lines(file))
        except RecursionError as e:
            raise ConfigurationError(f"{self._name}: JSON that is nested too deep") from e

    def _all(self, lines: Iterator[tuple[int, str]]) -> Uris:
        number, first = next(((n, text) for n, text in lines if text.strip()), (0, ""))
        if not first:
            return
        if _is_json(first) and not _is_whole(first):
            yield from self._document(number, first, lines)
            return
        yield from self._line(number, first)
        for number, text in lines:
            yield from self._line(number, text)

    def _lines(self, file: IO[bytes]) -> Iterator[tuple[int, str]]:
        number = 0
        try:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as e:
            raise ConfigurationError(f"{self._name}:{number}: not UTF-8") from e
        except (gzip.BadGzipFile, zlib.error, EOFError) as e:
            raise ConfigurationError(f"{self._name}:{number + 1}: not gzip: {e}") from e

    def _document(self, number: int, first: str, lines: Iterator[tuple[int, str]]) -> Uris:
        """A file that is one JSON value over several lines."""
        text = io.StringIO()
        text.write(first)
        for _, line in lines:
            text.write("\n" + line)
        try:
            values = json.loads(text.getvalue())
        except json.JSONDecodeError as e:
            raise self._mistake(number + e.lineno - 1, f"not JSON: {e.msg}") from e
        for position, value in enumerate(values if isinstance(values, list) else [values], 1):
            try:
                yield from self._uris(value)
            except _Malformed as e:
                raise ConfigurationError(f"{self._name}: event {position}: {e}") from e

    def _line(self, number: int, text: str) -> Uris:
        if not text.strip():
            return
        try:
            if not _is_json(text):
                yield self._uri(text)
                return
            for value in _values(text):
                yield from self._uris(value)
        except json.JSONDecodeError as e:
            raise self._mistake(number, f"not JSON: {e.msg}") from e
        except _Malformed as e:
            raise self._mistake(number, str(e)) from e

    def _mistake(self, number: int, why: str) -> ConfigurationError:
        return ConfigurationError(f"{self._name}:{number}: {why}")

    def _uris(self, value: Any) -> Uris:
        """The objects of an event, of those that others wrap, or of a JSON line."""
        match value:
            case list():
                for one in value:
                    yield from self._uris(one)
            case str() | {"uri": str()}:
                yield self._uri(value if isinstance(value, str) else value["uri"])
            case {"s3": dict(), "eventName": str()}:
                yield _notified(value)
            case {"detail-type": str()}:
                yield _bridged(value)
            case {"attributes": {"eventType": str()}}:
                yield _published(value["attributes"])
            case {"Event": "s3:TestEvent"} | {"Type": "SubscriptionConfirmation"}:
                yield None
            case _:
                yield from self._wrapped(value)

    def _wrapped(self, value: Any) -> Uris:
        """The objects of what carries events, as values or as JSON in a text."""
        match value:
            case {"Records": list(within)} | {"Messages": list(within)}:
                yield from self._uris(within)
            case {"message": dict(within)}:
                yield from self._uris(within)
            case {"Sns": {"Message": str(text)}} | {"Type": "Notification", "Message": str(text)}:
                yield from self._uris(_unpacked(text))
            case {"body": str(text)} | {"Body": str(text)}:
                yield from self._uris(_unpacked(text))
            case _:
                raise _Malformed(
                    f'{_shown(value)} is no event of an object, no key and no {{"uri": ...}}'
                )

    def _uri(self, text: str) -> str:
        _check_unicode(text)
        scheme, separator, _ = text.partition("://")
        if separator and scheme in REMOTE_SCHEMES:
            return text
        if separator:
            try:
                return normalise(text)
            except ConfigurationError as e:
                raise _Malformed(str(e)) from e
        if is_local(self._root):
            return normalise(posixpath.join(self._root, text))
        return join(self._root, "") + "/" + text.removeprefix("./")


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _is_whole(text: str) -> bool:
    try:
        return any(True for _ in _values(text))
    except json.JSONDecodeError:
        return False


def _values(text: str) -> Iterator[Any]:
    """JSON values one after the other: Firehose puts nothing between them."""
    decoder, position = json.JSONDecoder(), 0
    text = text.strip()
    while position < len(text):
        value, position = decoder.raw_decode(text, position)
        yield value
        while text[position : position + 1].isspace():
            position += 1


def _unpacked(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        raise _Malformed(f"the message {_shown(text)} is not JSON: {e.msg}") from e


def _notified(record: dict[str, Any]) -> str | None:
    """The object of an S3 notification's record, whose key is encoded as in a URL's query."""
    if not record["eventName"].removeprefix("s3:").startswith(_S3_EVENTS):
        return None
    return _object_uri(record["s3"], unquote_plus)


def _bridged(event: dict[str, Any]) -> str | None:
    """The object of an EventBridge event, whose key is as it is."""
    if event["detail-type"] not in _BRIDGE_EVENTS:
        return None
    return _object_uri(event.get("detail"), str)


def _published(attributes: dict[str, Any]) -> str | None:
    """The object of a Pub/Sub notification of Google Cloud Storage."""
    if attributes["eventType"] not in _PUBLISHED_EVENTS:
        return None
    match attributes:
        case {"bucketId": str(bucket), "objectId": str(name)}:
            _check_unicode(name)
            return f"gs://{bucket}/{name}"
    raise _Malformed(f"{_shown(attributes)} names no bucketId and objectId")


def _object_uri(described: Any, decoded: Callable[[str], str]) -> str:
    match described:
        case {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}}:
            _check_unicode(key)
            return f"s3://{bucket}/{decoded(key)}"
    raise _Malformed(f"{_shown(described)} names no bucket and key")


def _check_unicode(text: str) -> None:
    """Refuse half of a character, which JSON can say and no store has."""
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise _Malformed(f"{_shown(ascii(text))} is not Unicode") from e


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
