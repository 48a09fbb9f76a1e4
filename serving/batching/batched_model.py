"""A model that runs small requests together, as TensorFlow Serving's `batching_session.cc`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from serving.batching import batch
from serving.batching.parameters import BatchingParameters
from serving.batching.queues import BatchQueue
from serving.batching.scheduler import shared_scheduler
from serving.batching.tasks import Outputs, Piece, Task
from serving.models.servable import Feeds, Servable

_Names = frozenset[str]


class BatchedModel:
    """A `Servable` in front of another: requests that come close together run as one.

    Each signature of the model has a queue. A request that fits none of them runs alone. Batch
    threads are shared by all models with equal parameters.

    Unlike TensorFlow Serving, a request for some outputs of a signature (`output_filter`) is
    batched like one for all of them, and rows of unequal shapes never fail each other.
    """

    def __init__(self, servable: Servable, parameters: BatchingParameters) -> None:
        self.signatures = servable.signatures
        self._servable = servable
        self._parameters = parameters
        self._scheduler = shared_scheduler(parameters)
        # Over the servable alone: a closure over self would be a cycle, freed who knows when.
        process = partial(_process, servable, parameters)
        self._queues = [
            (inputs, outputs, BatchQueue(parameters, process))
            for inputs, outputs in _tensor_names(servable.signatures)
        ]

    def run(
        self, feeds: Feeds, fetches: Sequence[str], timeout_seconds: float | None = None
    ) -> list[NDArray[Any]]:
        """As `Servable.run`, where the timeout is for the wait in the queue.

        Raises:
            StatusError: as the model; or the inputs have no common number of rows, there are too
                many of them, the queue is full, or the wait in it took too long.
        """
        queue = self._queue(feeds, fetches)
        if queue is None:
            return self._servable.run(feeds, fetches, timeout_seconds)
        batch.row_count(feeds)
        task = Task(feeds, fetches, batch.kind(feeds, self._parameters), timeout_seconds)
        self._scheduler.run(queue, task)
        return task.outputs()

    def _queue(self, feeds: Iterable[str], fetches: Iterable[str]) -> BatchQueue | None:
        fed, fetched = frozenset(feeds), frozenset(fetches)
        return next((q for ins, outs, q in self._queues if fed == ins and fetched <= outs), None)


def _tensor_names(signatures: Mapping[str, Any]) -> list[tuple[_Names, _Names]]:
    """Names of the tensors that each signature takes and gives, those with fewest outputs first."""
    names = {
        tuple(
            frozenset(info.name for info in infos.values())
            for infos in (signature.inputs, signature.outputs)
        )
        for signature in signatures.values()
    }
    return sorted(((ins, outs) for ins, outs in names), key=lambda pair: len(pair[1]))


def _process(servable: Servable, parameters: BatchingParameters, pieces: Sequence[Piece]) -> None:
    """Run a batch and tell its tasks; an error is one of them all."""
    try:
        parts = _run(servable, parameters, pieces)
    except Exception as error:  # whatever it is, the callers wait for it
        for piece in pieces:
            piece.task.fail(error)
        return
    for piece, part in zip(pieces, parts, strict=True):
        piece.task.succeed(piece.start, piece.rows, part)


def _run(
    servable: Servable, parameters: BatchingParameters, pieces: Sequence[Piece]
) -> list[Outputs]:
    fetches = sorted({name for piece in pieces for name in piece.task.fetches})
    feeds = batch.merge([piece.feeds for piece in pieces], parameters)
    outputs = servable.run(feeds, fetches, _timeout_seconds(pieces))
    sizes = [piece.rows for piece in pieces]
    parts = batch.split(outputs, sizes, batch.row_count(feeds))
    return [dict(zip(fetches, part, strict=True)) for part in parts]


def _timeout_seconds(pieces: Sequence[Piece]) -> float | None:
    """The most patient caller's; those who give up earlier are no reason to fail the others."""
    left = [piece.task.seconds_left() for piece in pieces]
    return None if None in left else max(seconds for seconds in left if seconds is not None)
