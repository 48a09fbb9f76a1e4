"""A queue: a row of batches of which the last is open to further tasks.

Follows `Queue` of TensorFlow's `core/kernels/batching_util/shared_batch_scheduler.h`, with its
words of refusal.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import grpc

from serving.batching.parameters import BatchingParameters
from serving.batching.tasks import Piece, Task
from serving.grpc_status import StatusError, invalid_argument

Process = Callable[[Sequence[Piece]], None]


@dataclass
class _Batch:
    kind: object
    close_at: float
    """On the monotonic clock, in seconds: when it runs even if it is not full."""
    rows: int = 0
    pieces: list[Piece] = field(default_factory=list)


class BatchQueue:
    """Tasks of one signature of one model, first in, first out; not thread-safe.

    Args:
        process: runs the pieces of a batch and tells their tasks; it never raises.
    """

    def __init__(self, parameters: BatchingParameters, process: Process) -> None:
        self.process = process
        self._parameters = parameters
        self._most_rows = parameters.batch_rows
        self._most_batches = max(1, parameters.max_enqueued_batches)
        self._batches: deque[_Batch] = deque()

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def ready_at(self) -> float:
        """When the first batch may run, on the monotonic clock; 0 if it is full or closed."""
        first = self._batches[0]
        is_closed = len(self._batches) > 1 or first.rows >= self._most_rows
        return 0.0 if is_closed else first.close_at

    def put(self, task: Task) -> None:
        """Let a task wait for its batch.

        Raises:
            StatusError: it is larger than a request may be (INVALID_ARGUMENT), or too many
                batches wait already (UNAVAILABLE).
        """
        limit = self._parameters.max_batch_size
        if task.rows > limit:
            raise invalid_argument(
                f"Task size {task.rows} is larger than maximum input batch size {limit}"
            )
        if self._parameters.enable_large_batch_splitting:
            self._check_capacity(task)
        else:
            self._check_length(task)
        for piece in self._pieces(task):
            self._add(piece)

    def take(self) -> Sequence[Piece]:
        """Remove the first batch; its tasks have now begun, but for those that were given up."""
        pieces = [p for p in self._batches.popleft().pieces if not p.task.is_done]
        for piece in pieces:
            piece.task.begun = True
        return pieces

    def _check_length(self, task: Task) -> None:
        if task.rows > self._room(task) and len(self._batches) >= self._most_batches:
            raise _full(
                f"currently {len(self._batches)} batches enqueued and max_enqueued_batches is"
                f" {self._most_batches}"
            )

    def _check_capacity(self, task: Task) -> None:
        # TensorFlow's queue always has an open batch, perhaps an empty one.
        count = len(self._batches) or 1
        capacity = (self._most_batches - count) * self._most_rows + self._room(task)
        if task.rows > capacity:
            raise _full(
                f"task size is {task.rows} but scheduling capacity is only {capacity}"
                f" (num_enqueued_batches={count}, max_enqueued_batches={self._most_batches},"
                f" open_batch_size={self._batches[-1].rows if self._batches else 0},"
                f" max_execution_batch_size={self._most_rows})"
            )

    def _room(self, task: Task) -> int:
        """How many rows of this task's kind the open batch still takes."""
        if not self._batches:
            return self._most_rows
        last = self._batches[-1]
        return self._most_rows - last.rows if last.kind == task.kind else 0

    def _pieces(self, task: Task) -> Sequence[Piece]:
        """The task as a whole, or cut where the open batch and those behind it will be full."""
        room = self._room(task)
        if task.rows <= room or not self._parameters.enable_large_batch_splitting:
            return [Piece(task, 0, task.rows)]
        bounds = sorted({0, *range(room, task.rows, self._most_rows), task.rows})
        return [Piece(task, start, end - start) for start, end in pairwise(bounds)]

    def _add(self, piece: Piece) -> None:
        is_new = not self._batches or self._batches[-1].kind != piece.task.kind
        if is_new or piece.rows > self._room(piece.task):
            seconds = self._parameters.batch_timeout_micros / 1e6
            self._batches.append(_Batch(piece.task.kind, time.monotonic() + seconds))
        self._batches[-1].pieces.append(piece)
        self._batches[-1].rows += piece.rows


def _full(detail: str) -> StatusError:
    return StatusError(
        grpc.StatusCode.UNAVAILABLE,
        f"The batch scheduling queue to which this task was submitted is full; {detail}",
    )
