"""The calls of one client, kept within its limit, whoever makes them."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from serving.client.adaptive_limit import AdaptiveLimit, Call, Ending
from serving.client.retries import (
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    is_late,
    is_lost,
    is_overload,
)


class Slots:
    """Lets calls begin; safe for threads.

    Where a server has refused all there was, nothing begins for a while: a tenth of a second at
    first, twice as long each time up to two seconds, shortened at random by up to half. A call
    that was refused while others are under way keeps its slot for about as long as those take, or
    the next one would be refused at once.
    """

    def __init__(self, most: int) -> None:
        self._limit = AdaptiveLimit(most)
        self._changed = threading.Condition()
        self._in_flight = 0
        self._begin_at = 0.0
        self._pause_seconds = FIRST_DELAY_SECONDS
        self._resting = 0
        self._call_seconds = 0.0
        self._closing = threading.Event()
        self.last_answer = 0.0
        """When the server answered last, by `time.monotonic`; 0.0 if it never did."""

    @property
    def limit(self) -> int:
        """Calls that may be under way now."""
        return self._limit.limit

    @contextmanager
    def call(self, rows: int) -> Iterator[None]:
        """Wait for a slot, and learn from how the call within ends."""
        self._begin()
        started = time.monotonic()
        ending = Ending.LOST
        try:
            yield
            ending = Ending.ANSWERED
        except grpc.RpcError as error:
            ending = _ending(error)
            raise
        finally:
            rest_seconds = self._learn(started, rows, ending)
            if rest_seconds:
                self._closing.wait(rest_seconds)
            self._leave(ending)

    def close(self) -> None:
        """Let nothing wait any longer."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()

    def _begin(self) -> None:
        with self._changed:
            while not self._closing.is_set() and (wait_seconds := self._wait_seconds()) != 0:
                self._changed.wait(wait_seconds)
            self._in_flight += 1

    def _wait_seconds(self) -> float | None:
        if self._in_flight >= self._limit.limit:
            return None
        return max(0.0, self._begin_at - time.monotonic())

    def _learn(self, started: float, rows: int, ending: Ending) -> float:
        """Take notice of how a call ended; returns how long its slot is to rest."""
        now = time.monotonic()
        with self._changed:
            self._limit.ended(Call(started, now, rows, ending, self._in_flight))
            if ending is Ending.ANSWERED:
                self.last_answer, self._call_seconds = now, now - started
                self._begin_at, self._pause_seconds = 0.0, FIRST_DELAY_SECONDS
            elif ending is Ending.REFUSED:
                self._resting += 1
                return self._after_refusal(now)
        return 0.0

    def _after_refusal(self, now: float) -> float:
        if self._resting < self._in_flight:
            return min(self._call_seconds, LONGEST_DELAY_SECONDS) * random.uniform(0.5, 1.0)
        self._begin_at = now + self._pause_seconds * random.uniform(0.5, 1.0)
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_DELAY_SECONDS)
        return 0.0

    def _leave(self, ending: Ending) -> None:
        with self._changed:
            self._resting -= ending is Ending.REFUSED
            self._in_flight -= 1
            self._changed.notify(max(0, self._limit.limit - self._in_flight))


def _ending(error: grpc.RpcError) -> Ending:
    if is_overload(error):
        return Ending.REFUSED
    if is_late(error):
        return Ending.LATE
    return Ending.LOST if is_lost(error) else Ending.ANSWERED
