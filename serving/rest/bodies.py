"""Bodies of HTTP/1.1 requests: of a told length, in chunks, or compressed."""

import zlib
from collections.abc import Iterator
from email.message import Message
from io import BufferedIOBase

MAX_BODY_BYTES = 100 * 1024 * 1024
"""What TensorFlow Serving lets a gzip body swell to (`compression/gzip_zlib.h`)."""

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


def read_body(headers: Message, stream: BufferedIOBase, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body of the request that has these headers, as its sender wrote it.

    A gzip body that is broken, or swells beyond measure, is an empty one, as in TensorFlow
    Serving.

    Raises:
        BodyError: its length cannot be told, or is above `max_bytes`.
        BodyCutError: it ends early.
    """
    encoding = headers.get("Transfer-Encoding", "").lower()
    if encoding == "chunked":
        body = _chunked(stream, max_bytes)
    elif encoding:
        raise BodyError(f"a transfer encoding that is not known: {encoding}")
    else:
        body = _told(stream, _content_length(headers), max_bytes)
    return _unzipped(body, max_bytes) if "gzip" in headers.get("Content-Encoding", "") else body


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


def _told(stream: BufferedIOBase, length: int, max_bytes: int) -> bytes:
    if length > max_bytes:
        # Read to its end: who still sends would see a broken connection, not the refusal.
        for _ in _pieces(stream, min(length, _MOST_DISCARDED * max_bytes)):
            pass
    _check_size(length, max_bytes)
    return _exactly(stream, length)


def _chunked(stream: BufferedIOBase, max_bytes: int) -> bytes:
    body = bytearray()
    while size := _chunk_size(stream):
        _check_size(len(body) + size, max_bytes)
        body += _exactly(stream, size)
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


def _exactly(stream: BufferedIOBase, length: int) -> bytes:
    return b"".join(_pieces(stream, length))


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
