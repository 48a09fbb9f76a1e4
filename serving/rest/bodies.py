"""Bodies of HTTP/1.1 requests: of a told length, in chunks, or compressed."""

import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from io import BufferedIOBase

MAX_BODY_BYTES = 100 * 1024 * 1024
"""What TensorFlow Serving lets a gzip body swell to (`compression/gzip_zlib.h`)."""

Take = Callable[[int], None]

_READ_BYTES = 1024 * 1024
_LINE_BYTES = 64 * 1024
_MOST_TRAILERS = 100
_MOST_DISCARDED = 10
"""Times what is taken, of a body that is refused."""
_GZIP_FORMAT = 16 + zlib.MAX_WBITS


class BodyError(ValueError):
    """The request's headers or chunks are no HTTP/1.1: the connection cannot go on."""


class BodyTooLargeError(BodyError):
    """It has more bytes than are taken."""


class BodyCutError(Exception):
    """The client hung up within its request."""


class NoRoomError(Exception):
    """Other requests' bodies fill the memory that there is for them."""


class Room:
    """What the bodies of all requests together may take of memory; thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        self._free_bytes = most_bytes
        self._lock = threading.Lock()

    @contextmanager
    def shared(self) -> Iterator[Take]:
        """For one request: takes so many bytes at each call, and gives them back at its end.

        Raises:
            NoRoomError: there are no more.
        """
        counts: list[int] = []

        def take(count: int) -> None:
            if not self._change(-count):
                raise NoRoomError
            counts.append(count)

        try:
            yield take
        finally:
            self._change(sum(counts))

    def _change(self, count: int) -> bool:
        with self._lock:
            fits = self._free_bytes + count >= 0
            self._free_bytes += count * fits
            return fits


def read_body(
    headers: Message,
    stream: BufferedIOBase,
    max_bytes: int = MAX_BODY_BYTES,
    take: Take = lambda _: None,
) -> bytes:
    """The body of the request that has these headers, as its sender wrote it.

    A gzip body that is broken, or swells beyond measure, is an empty one, as in TensorFlow
    Serving. `take` is told of bytes as they come.

    Raises:
        BodyError: its length cannot be told, or is above `max_bytes`.
        BodyCutError: it ends early.
    """
    encoding = headers.get("Transfer-Encoding", "").lower()
    if encoding == "chunked":
        body = _chunked(stream, max_bytes, take)
    elif encoding:
        raise BodyError(f"a transfer encoding that is not known: {encoding}")
    else:
        length = _content_length(headers)
        _check_size(length, max_bytes)
        body = _exactly(stream, length, take)
    if "gzip" in headers.get("Content-Encoding", ""):
        body = _unzipped(body, max_bytes)
        take(len(body))
    return body


def discard(stream: BufferedIOBase, max_bytes: int = MAX_BODY_BYTES) -> None:
    """Read what comes of a body that is refused: who still sends would see a broken connection."""
    with suppress(OSError, BodyCutError):
        for _ in _pieces(stream, _MOST_DISCARDED * max_bytes):
            pass


def _content_length(headers: Message) -> int:
    told = {value.strip() for value in headers.get_all("Content-Length", ["0"])}
    length = told.pop()
    if told or not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise BodyError("a content length that is no number")
    return int(length)


def _check_size(length: int, max_bytes: int) -> None:
    if length > max_bytes:
        raise BodyTooLargeError(
            f"the body has more than {max_bytes} bytes: send it in parts,"
            " or raise --rest_api_max_body_bytes"
        )


def _chunked(stream: BufferedIOBase, max_bytes: int, take: Take) -> bytes:
    body = bytearray()
    while size := _chunk_size(stream):
        _check_size(len(body) + size, max_bytes)
        body += _exactly(stream, size, take)
        if _exactly(stream, 2) != b"\r\n":
            raise BodyError("a chunk of another length than told")
    for _ in range(_MOST_TRAILERS):
        if _line(stream) in {b"\r\n", b"\n"}:
            return bytes(body)
    raise BodyError("more trailers than are taken")


def _chunk_size(stream: BufferedIOBase) -> int:
    digits = _line(stream).partition(b";")[0].strip()
    if not digits.isalnum() or len(digits) > 15:
        raise BodyError("a chunk without a length")
    try:
        return int(digits, 16)
    except ValueError as error:
        raise BodyError("a chunk without a length") from error


def _line(stream: BufferedIOBase) -> bytes:
    line = stream.readline(_LINE_BYTES)
    if not line:
        raise BodyCutError
    if not line.endswith(b"\n"):
        raise BodyError("a line that does not end")
    return line


def _exactly(stream: BufferedIOBase, length: int, take: Take = lambda _: None) -> bytes:
    pieces = []
    for piece in _pieces(stream, length):
        take(len(piece))
        pieces.append(piece)
    return b"".join(pieces)


def _pieces(stream: BufferedIOBase, length: int) -> Iterator[bytes]:
    """Memory is taken for what comes, not for what was promised."""
    while length:
        piece = stream.read(min(length, _READ_BYTES))
        if not piece:
            raise BodyCutError
        yield piece
        length -= len(piece)


def _unzipped(body: bytes, max_bytes: int) -> bytes:
    unzip = zlib.decompressobj(_GZIP_FORMAT)
    try:
        plain = unzip.decompress(body, max_bytes)
    except zlib.error:
        return b""
    return plain if unzip.eof else b""
