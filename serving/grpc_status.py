"""Refusals as TensorFlow Serving words them: a canonical code and a text of bounded length."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

TEXT_BYTES = 1024

_log = logging.getLogger(__name__)


class StatusError(Exception):
    """A request, or a load, that is refused."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return StatusError, (self.code, self.text)


def invalid_argument(text: str) -> StatusError:
    """The request itself is wrong."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, text)


def not_found(text: str) -> StatusError:
    """No such model or version is served."""
    return StatusError(grpc.StatusCode.NOT_FOUND, text)


def truncated(text: str, most_bytes: int = TEXT_BYTES) -> str:
    """The text as it travels: `model_servers/grpc_status_util.cc` cuts it at 1024 bytes."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= most_bytes:
        return text
    return encoded[:most_bytes].decode(errors="ignore") + "...TRUNCATED"


def unexpected(error: Exception) -> StatusError:
    """The refusal for an error that nobody foresaw, which goes to the log whole."""
    if isinstance(error, MemoryError):
        return StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Out of memory")
    _log.error("a request failed unexpectedly", exc_info=error)
    return StatusError(grpc.StatusCode.INTERNAL, f"Internal error: {type(error).__name__}")


@contextmanager
def answering(context: grpc.ServicerContext) -> Iterator[None]:
    """Send a refusal to gRPC's client."""
    try:
        yield
    except StatusError as error:
        context.abort(error.code, truncated(error.text))
    except Exception as error:  # whatever it is, the client gets a code and one line
        refusal = unexpected(error)
        context.abort(refusal.code, refusal.text)
