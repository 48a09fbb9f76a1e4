"""Batch threads that all models with equal parameters share.

Follows `SharedBatchScheduler` of TensorFlow's
`core/kernels/batching_util/shared_batch_scheduler.h`: a free thread takes the queues in turn.
"""

import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence

from serving.batching.parameters import BatchingParameters
from serving.batching.queues import BatchQueue, Process
from serving.batching.tasks import Piece, Task


class BatchScheduler:
    """Runs what stands in queues on `num_batch_threads` threads.

    The threads end when the last reference to the scheduler goes. They hold none themselves, and
    of queues only those in which something waits, so that a model which is unloaded is freed.
    """

    def __init__(self, parameters: BatchingParameters) -> None:
        self._waiting = waiting = _WaitingQueues()
        for number in range(parameters.num_batch_threads):
            name = f"{parameters.thread_pool_name}_{number}"
            threading.Thread(target=_work, args=(waiting,), name=name, daemon=True).start()
        weakref.finalize(self, waiting.close)

    def run(self, queue: BatchQueue, task: Task) -> None:
        """Put a task into a queue and wait until it is done.

        Raises:
            StatusError: the queue refuses the task.
        """
        self._waiting.put(queue, task)
        if not task.done.wait(task.timeout_seconds):
            self._waiting.expire(task)
            task.done.wait()


_shared: weakref.WeakValueDictionary[BatchingParameters, BatchScheduler] = (
    weakref.WeakValueDictionary()
)
_sharing = threading.Lock()


def shared_scheduler(parameters: BatchingParameters) -> BatchScheduler:
    """The scheduler of these parameters, a new one unless somebody holds one."""
    with _sharing:
        scheduler = _shared.get(parameters)
        if scheduler is None:
            scheduler = _shared[parameters] = BatchScheduler(parameters)
        return scheduler


class _WaitingQueues:
    """The queues that have something, in the order of their turns; thread-safe."""

    def __init__(self) -> None:
        # A condition on a reentrant lock: the last reference to a scheduler may go while a
        # thread that happens to hold it collects garbage.
        self._changed = threading.Condition()
        self._queues: deque[BatchQueue] = deque()
        self._closed = False

    def put(self, queue: BatchQueue, task: Task) -> None:
        with self._changed:
            was_empty = not queue
            queue.put(task)
            if was_empty:
                self._queues.append(queue)
            if was_empty or queue.ready_at <= time.monotonic():
                self._changed.notify()

    def expire(self, task: Task) -> None:
        """Give a task up that has waited too long, unless it has begun."""
        with self._changed:
            if not task.begun and not task.is_done:
                task.expire()

    def close(self) -> None:
        """Let the threads end once nothing waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self) -> tuple[Process, Sequence[Piece]] | None:
        """Wait for a batch that may run, and remove it; None once closed and empty."""
        with self._changed:
            while self._queues or not self._closed:
                queue = self._ready_queue()
                if queue is None:
                    self._changed.wait(self._seconds_to_wait())
                elif pieces := self._take_from(queue):
                    return queue.process, pieces
        return None

    def _ready_queue(self) -> BatchQueue | None:
        now = time.monotonic()
        return next((queue for queue in self._queues if queue.ready_at <= now), None)

    def _seconds_to_wait(self) -> float | None:
        if not self._queues:
            return None
        return max(0.0, min(queue.ready_at for queue in self._queues) - time.monotonic())

    def _take_from(self, queue: BatchQueue) -> Sequence[Piece]:
        pieces = queue.take()
        self._queues.remove(queue)
        if queue:
            self._queues.append(queue)
        if self._queues:
            # More may be ready than was told: a request that was cut fills several batches.
            self._changed.notify()
        return pieces


def _work(waiting: _WaitingQueues) -> None:
    """A batch thread's life."""
    while taken := waiting.take():
        process, pieces = taken
        process(pieces)
        # Else the model and the requests would live until the next batch.
        del taken, process, pieces
