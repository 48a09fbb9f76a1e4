"""Which refusals of a model server are worth another try, and when."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from linnaeus import retries

T = TypeVar("T")

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 2.0
TRIES_IN_TIME = 3
"""How often a request may miss its deadline: what is too slow by itself stays so."""
FAULTS = [grpc.StatusCode[name] for name in ("INTERNAL", "UNKNOWN", "ABORTED", "DATA_LOSS")]
TRIES = dict.fromkeys(FAULTS, 5) | {grpc.StatusCode.DEADLINE_EXCEEDED: TRIES_IN_TIME}
"""Of one request, by how they ended: of millions, some meet a fault of the server."""
# A server that is stopped cancels what it has not finished; a caller's own cancelling is known to
# the caller.
_TRANSIENT = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED}
)
# TensorFlow's words for it, in `core/kernels/batching_util/basic_batch_scheduler.h` and others.
_QUEUE_FULL = "batch scheduling queue"


def is_too_large(error: grpc.RpcError) -> bool:
    """Whether a message is above the size that one end takes: the same one never passes."""
    return (
        error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        and "message larger than max" in (error.details() or "").lower()
    )


def is_overload(error: grpc.RpcError) -> bool:
    """Whether the server has too much to do: its threads are taken, or its batching queue full."""
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        return _QUEUE_FULL in (error.details() or "").lower()
    return error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and not is_too_large(error)


def is_late(error: grpc.RpcError) -> bool:
    """Whether the deadline passed."""
    return bool(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED)


def is_transient(error: grpc.RpcError) -> bool:
    """Whether the same request may pass later: the server is away, stopping or overloaded."""
    return error.code() in _TRANSIENT and not is_too_large(error)


def is_lost(error: grpc.RpcError) -> bool:
    """Whether it says nothing of the request: the server or the way to it failed."""
    return (is_transient(error) or error.code() in TRIES) and not is_overload(error)


def retry(
    call: Callable[[], T],
    give_up_at: Callable[[grpc.RpcError, float], float],
    sleep: Callable[[Any, float], object] = lambda _, seconds: time.sleep(seconds),
) -> T:
    """Call until it succeeds, fails for good, or the patience with its error is at an end.

    Args:
        call: what to try; deadlines that it misses and faults that it meets count against `TRIES`.
        give_up_at: from an error and when the first try failed to the end of the patience with
            it, by `time.monotonic`. What a try itself takes, or waits to begin, is no failure yet.
        sleep: waits after an error for so many seconds, or less if it knows better.
    """
    failing_since = None
    met = Counter[grpc.StatusCode]()

    def may_pass(error: Exception) -> bool:
        nonlocal failing_since
        if not isinstance(error, grpc.RpcError):
            return False
        failing_since = failing_since or time.monotonic()
        met[error.code()] += 1
        again = is_transient(error) or met[error.code()] < TRIES.get(error.code(), 0)
        out_of_patience = time.monotonic() > give_up_at(error, failing_since)
        return again and (is_late(error) or not out_of_patience)

    policy = retries.Policy(None, FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
    return retries.retry(call, may_pass, policy, sleep)
