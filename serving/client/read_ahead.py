"""Batches that are read and not answered yet, over all the streams of one client."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

READY = 2
"""Batches that wait for a slot, so that none stays free."""
ANSWERED_AHEAD = 4
"""Batches of a stream for each slot: answers that overtook the one that is next."""


class ReadingAhead:
    """Says when another batch may be read; safe for threads.

    Bounds the batches and bytes that are not answered, but for one batch a stream: a stream
    never waits for another's.
    """

    def __init__(self, limit: Callable[[], int], most_bytes: int) -> None:
        self._limit, self._most_bytes = limit, most_bytes
        self._changed = threading.Condition()
        self._batches = self._bytes = 0

    def add(self, future: Future[T], size_bytes: int) -> None:
        """Count a batch until it is answered."""
        with self._changed:
            self._batches += 1
            self._bytes += size_bytes
        future.add_done_callback(lambda _: self._remove(size_bytes))

    def _remove(self, size_bytes: int) -> None:
        with self._changed:
            self._batches -= 1
            self._bytes -= size_bytes
            self._changed.notify_all()

    def wait_for(self, stream: deque[Future[T]]) -> None:
        """Wait until a stream's next batch is answered, or another may be read."""
        with self._changed:
            self._changed.wait_for(lambda: stream[0].done() or self._has_room(len(stream)))

    def _has_room(self, batches: int) -> bool:
        most = self._limit() + READY
        return (
            self._batches < most
            and batches < ANSWERED_AHEAD * most
            and self._bytes < self._most_bytes
        )
