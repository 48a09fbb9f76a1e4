"""Patience with object stores: how long a request is repeated, and when a store counts as down.

obstore repeats requests itself, waiting longer and longer, by random lengths, so that workers do
not return all at once. This module says for how long, repeats what obstore does not (a listing
that breaks off in the middle of an answer), and ends the work with a store that gives no answers.
"""

import math
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from linnaeus import retries
from linnaeus.errors import FailureCode, StorageError, StoreUnavailable
from linnaeus.retries import Policy

T = TypeVar("T")

CONNECT_SECONDS = 5
SILENCE_SECONDS = 10
"""Without a byte while an answer is read; then the request is repeated."""
WRITE_SECONDS = 60
"""For a whole write of up to `SHORT_BYTES`: what is sent gives no sign of life."""
SHORT_BYTES = 32 << 20
READ_PATIENCE_SECONDS = 15
WRITE_PATIENCE_SECONDS = 75
"""From a request's first try to its last one; longer than one try, which may have been silent."""
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.1, 4.0
BROKEN_ANSWERS = 8
"""How often an answer that breaks off is asked for."""
SILENT_WRITES = 2
"""How often a write is tried that gets no answer at all."""
TOKENS = 16
"""Requests in vain that a process makes, beyond those that succeed, before a store is down."""

_MANY = 1_000  # time is the limit
_TRANSIENT = {FailureCode.THROTTLED, FailureCode.TIMEOUT, FailureCode.SERVER_ERROR}


def write_seconds(size_bytes: int) -> int:
    """For a whole write of that size: doubled with each doubling, so that few clients do for all.

    Half a megabyte a second is fast enough.
    """
    doublings = max(0, math.ceil(math.log2(max(size_bytes, 1) / SHORT_BYTES)))
    return WRITE_SECONDS << doublings


def client_options(write_seconds: int | None) -> dict[str, Any]:
    """The timeouts of an obstore client for writes that may take so long; None: for reads."""
    options = {"connect_timeout": timedelta(seconds=CONNECT_SECONDS)}
    if write_seconds is not None:
        return options | {"timeout": timedelta(seconds=write_seconds)}
    silence = timedelta(seconds=SILENCE_SECONDS)
    return options | {"read_timeout": silence, "timeout": timedelta(seconds=30 * SILENCE_SECONDS)}


def retry_config(write_seconds: int | None) -> dict[str, Any]:
    """What obstore is told about repeating requests, by the same."""
    seconds = READ_PATIENCE_SECONDS
    if write_seconds is not None:
        seconds = write_seconds + WRITE_PATIENCE_SECONDS - WRITE_SECONDS
    return {
        "max_retries": _MANY,
        "retry_timeout": timedelta(seconds=seconds),
        "backoff": {
            "init_backoff": timedelta(seconds=FIRST_DELAY_SECONDS),
            "max_backoff": timedelta(seconds=LONGEST_DELAY_SECONDS),
            "base": 2,
        },
    }


def delta_options() -> dict[str, str]:
    """The same for delta-rs, which reads and writes through one client."""
    return {
        "connect_timeout": f"{CONNECT_SECONDS}s",
        "timeout": f"{WRITE_SECONDS}s",
        "max_retries": str(_MANY),
        "retry_timeout": f"{WRITE_PATIENCE_SECONDS}s",
        "backoff_config.init_backoff": f"{round(1000 * FIRST_DELAY_SECONDS)}ms",
        "backoff_config.max_backoff": f"{round(1000 * LONGEST_DELAY_SECONDS)}ms",
    }


def retry(
    ask: Callable[[], T], may_pass: Callable[[Exception], bool], tries: int = BROKEN_ANSWERS
) -> T:
    """Ask up to `tries` times, as long as the error is one that may pass."""
    policy = Policy(tries, FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
    return retries.retry(ask, may_pass, policy)


class Budget:
    """A token bucket: each request in vain takes one, each answer puts one back.

    Without it, each of a million objects would be waited for as long as any one may be, and in
    the end be recorded as a failure of its own.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._tokens = TOKENS
        self._lock = threading.Lock()

    def answered(self) -> None:
        """The store said something, if only that it has no such object."""
        with self._lock:
            self._tokens = min(self._tokens + 1, TOKENS)

    def failed(self, error: StorageError) -> None:
        """A request failed, and all its repetitions.

        Raises:
            StoreUnavailable: once too many did.
        """
        if error.code not in _TRANSIENT:
            self.answered()
            return
        with self._lock:
            self._tokens = max(self._tokens - 1, 0)
            is_down = self._tokens == 0
        if is_down:
            raise StoreUnavailable(
                f"{self._store} is down or too busy, {TOKENS} requests and their repetitions were "
                f"in vain; the last: {error}. Nothing is recorded of objects that were not read; "
                "run the same command again when the store answers",
                error.code,
            ) from error


@cache
def budget_of(store: str) -> Budget:
    """The process's budget for a bucket."""
    return Budget(store)
