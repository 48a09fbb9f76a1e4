"""Which refusals of a model server are worth another try, and when."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import grpc

T = TypeVar("T")

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 2.0
# A server that is stopped cancels what it has not finished; a caller's own cancelling is known to
# the caller.
_TRANSIENT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
    }
)


def is_too_large(error: grpc.RpcError) -> bool:
    """Whether a message is above the size that one end takes: the same one never passes."""
    return (
        error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        and "message larger than max" in (error.details() or "").lower()
    )


def is_transient(error: grpc.RpcError) -> bool:
    """Whether the same request may pass later: the server is away, stopping or overloaded."""
    return error.code() in _TRANSIENT and not is_too_large(error)


def retry(
    call: Callable[[], T],
    patience_seconds: Callable[[grpc.RpcError], float],
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """Call until it succeeds, fails for good, or the patience with its error is at an end.

    Waits between tries grow twofold from a tenth of a second to two seconds, each shortened at
    random by up to half, so that clients of one server do not return all at once.
    """
    started = time.monotonic()
    delay = FIRST_DELAY_SECONDS
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            waited = time.monotonic() - started
            if not is_transient(error) or waited + delay > patience_seconds(error):
                raise
        sleep(delay * random.uniform(0.5, 1.0))
        delay = min(2 * delay, LONGEST_DELAY_SECONDS)
