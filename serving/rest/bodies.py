"""Bodies of HTTP/1.1 requests: of a told length, in chunks, or compressed."""

import zlib
from collections.abc import Iterator
from email.message import Message
from io import BufferedIOBase

UNZIPPED_BYTES = 100 * 1024 * 1024
"""What a gzip body may swell to, as in TensorFlow Serving (`compression/gzip_zlib.h`)."""

_READ_BYTES = 1024 * 1024
_LINE_BYTES = 64 * 1024
_GZIP_FORMAT = 16 + zlib.MAX_WBITS


class BodyError(ValueError):
    """The request's headers or chunks are no HTTP/1.1: the connection cannot go on."""


class BodyCutError(Exception):
    """The client hung up within its request."""


def read_body(headers: Message, stream: BufferedIOBase) -> bytes:
    """The body of the request that has these headers, as its sender wrote it.

    A gzip body that is broken, or swells beyond measure, is an empty one, as in TensorFlow
    Serving.

    Raises:
        BodyError: its length cannot be told.
        BodyCutError: it ends early.
    """
    encoding = headers.get("Transfer-Encoding", "").lower()
    if encoding == "chunked":
        body = b"".join(_chunks(stream))
    elif encoding:
        raise BodyError(f"a transfer encoding that is not known: {encoding}")
    else:
        body = _exactly(stream, _content_length(headers))
    return _unzipped(body) if "gzip" in headers.get("Content-Encoding", "") else body


def _content_length(headers: Message) -> int:
    told = {value.strip() for value in headers.get_all("Content-Length", ["0"])}
    length = told.pop()
    if told or not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise BodyError("a content length that is no number")
    return int(length)


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    while size := _chunk_size(stream):
        yield _exactly(stream, size)
        if _exactly(stream, 2) != b"\r\n":
            raise BodyError("a chunk of another length than told")
    while _line(stream) not in {b"\r\n", b"\n"}:
        pass  # trailers


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
    """Read in pieces: memory is taken for what comes, not for what was promised."""
    pieces = []
    while length:
        piece = stream.read(min(length, _READ_BYTES))
        if not piece:
            raise BodyCutError
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _unzipped(body: bytes) -> bytes:
    unzip = zlib.decompressobj(_GZIP_FORMAT)
    try:
        plain = unzip.decompress(body, UNZIPPED_BYTES)
    except zlib.error:
        return b""
    return plain if unzip.eof else b""
