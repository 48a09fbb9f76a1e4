"""Requests that wait for their batch, and what their own threads learn from the batch threads."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.grpc_status import StatusError
from serving.models.servable import Feeds

Outputs = dict[str, NDArray[Any]]


class Task:
    """One request; a large one may run in several pieces, each in another batch.

    Args:
        feeds: tensor name -> array of `rows` rows.
        fetches: tensor names.
        kind: what tasks of one batch have in common.
        timeout_seconds: how long it may wait to begin; None for ever.
    """

    def __init__(
        self, feeds: Feeds, fetches: Sequence[str], kind: object, timeout_seconds: float | None
    ) -> None:
        self.feeds, self.fetches, self.kind = feeds, fetches, kind
        self.rows = len(next(iter(feeds.values())))
        self.timeout_seconds = timeout_seconds
        self.enqueued_at = time.monotonic()
        self.begun = False
        self.done = threading.Event()
        self._error: Exception | None = None
        self._parts: dict[int, Outputs] = {}
        self._rows_missing = self.rows
        self._lock = threading.Lock()

    @property
    def is_done(self) -> bool:
        """Whether it has its outputs, has failed, or was given up."""
        return self.done.is_set()

    def seconds_left(self) -> float | None:
        """How long its caller will still wait; None for ever."""
        if self.timeout_seconds is None:
            return None
        return max(0.0, self.enqueued_at + self.timeout_seconds - time.monotonic())

    def succeed(self, start: int, rows: int, outputs: Outputs) -> None:
        """Take the outputs of the rows from `start` on."""
        with self._lock:
            self._parts[start] = outputs
            self._rows_missing -= rows
            if self._rows_missing == 0:
                self.done.set()

    def fail(self, error: Exception) -> None:
        """Take what went wrong; pieces that have not begun need not run."""
        self._error = error
        self.done.set()

    def expire(self) -> None:
        """Fail because it has waited too long."""
        text = "Run() timeout exceeded while waiting in batching queue"
        self.fail(StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, text))

    def outputs(self) -> list[NDArray[Any]]:
        """The fetched arrays once it is done, in order.

        Raises:
            StatusError: it failed.
        """
        if isinstance(self._error, StatusError):
            # An error of its own: one of a batch is raised in many threads at once.
            raise StatusError(self._error.code, self._error.text) from self._error
        if self._error:
            raise self._error
        parts = [self._parts[start] for start in sorted(self._parts)]
        if len(parts) == 1:
            return [parts[0][name] for name in self.fetches]
        return [np.concatenate([part[name] for part in parts]) for name in self.fetches]


class Piece:
    """Rows `start` to `start + rows` of a task, which run in one batch."""

    def __init__(self, task: Task, start: int, rows: int) -> None:
        self.task, self.start, self.rows = task, start, rows

    @property
    def feeds(self) -> Feeds:
        """Views of these rows of the task's inputs."""
        if self.rows == self.task.rows:
            return self.task.feeds
        rows = slice(self.start, self.start + self.rows)
        return {name: array[rows] for name, array in self.task.feeds.items()}
