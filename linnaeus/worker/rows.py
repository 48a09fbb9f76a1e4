"""What became of a shard's objects, as rows of the tables."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from linnaeus.errors import FailureCode
from linnaeus.planning import RunSpec, decoder_of, job_of
from linnaeus.records import EMBEDDINGS, FAILURES, OBJECTS, PREDICTIONS, Counts, Prediction
from linnaeus.worker.embedding_loop import Failure, Outcome
from linnaeus.worker.receipts import Timings
from linnaeus.worker.worker import Answer


@dataclass(frozen=True)
class Results:
    """What became of a shard's objects; answers are the model server's, by content."""

    outcomes: Sequence[Outcome]
    answers: dict[str, Answer] = field(default_factory=dict)


class ShardRows:
    """A shard's results as rows of the tables."""

    def __init__(self, run: RunSpec, results: Results) -> None:
        self._run, self._results = run, results
        self._now = time_after(run.last_failure_at)
        self._job = job_of(run)
        ended = [(o, self._failure(o)) for o in results.outcomes]
        self._failed = [(o, failure) for o, failure in ended if failure]
        self._done = [o for o, failure in ended if not failure]

    def _failure(self, outcome: Outcome) -> Failure | None:
        if outcome.failure or not self._job.asks_server:
            return outcome.failure
        return score_failure(self._results.answers[outcome.sha256 or ""])

    def counts(self) -> Counts:
        """Sums over the shard's objects."""
        outcomes = self._results.outcomes
        return Counts(
            planned=len(outcomes),
            done=len(self._done),
            failed=len(self._failed),
            new_failures=sum(o.reference.attempt == 1 for o, _ in self._failed),
            bytes_read=sum(o.bytes_read for o in outcomes),
            embedded=sum(o.embedding is not None for o in outcomes),
            codes=dict(sorted(Counter(str(f.code) for _, f in self._failed).items())),
        )

    def timings(self) -> Timings:
        """Sums over the shard's objects."""
        outcomes = self._results.outcomes
        return Timings(
            sum(o.read_msec for o in outcomes),
            sum(o.decode_msec for o in outcomes),
            sum(o.inference_msec for o in outcomes),
        )

    def of(self, schema: pa.Schema) -> pa.Table:
        """The rows of the table that has a schema."""
        makers = {
            EMBEDDINGS: self.embeddings,
            FAILURES: self.failures,
            OBJECTS: self.objects,
            PREDICTIONS: self.predictions,
        }
        return makers[schema]()

    def embeddings(self) -> pa.Table:
        """Vectors that were computed, schema `EMBEDDINGS`."""
        rows = [o for o in self._results.outcomes if o.embedding is not None]
        columns = [
            pa.array([o.sha256 for o in rows], pa.string()),
            _vectors([o.embedding for o in rows if o.embedding is not None]),
            pa.array([self._run.run_id] * len(rows), pa.string()),
        ]
        return pa.table(columns, schema=EMBEDDINGS)

    def failures(self) -> pa.Table:
        """Objects that could not be done, schema `FAILURES`."""
        return _table(FAILURES, [self._failure_row(o, f) for o, f in self._failed])

    def _failure_row(self, outcome: Outcome, failure: Failure) -> dict[str, Any]:
        return {
            **self._identity(outcome),
            "stage": failure.stage,
            "code": str(failure.code),
            "message": failure.message,
            "attempt": outcome.reference.attempt,
            "computed_by": self._run.computed_by,
            "decoder": decoder_of(self._run),
            "failed_at": self._now,
        }

    def objects(self) -> pa.Table:
        """Objects whose content is known and good, schema `OBJECTS`."""
        rows = [
            {
                **self._identity(o),
                "size": o.reference.size,
                "sha256": o.sha256,
                "width": o.width,
                "height": o.height,
                "format": o.format,
            }
            for o in self._results.outcomes
            if o.bytes_read and not o.failure
        ]
        return _table(OBJECTS, rows)

    def predictions(self) -> pa.Table:
        """What the model said, schema `PREDICTIONS`."""
        return _table(PREDICTIONS, [self._prediction_row(o) for o in self._done])

    def _prediction_row(self, outcome: Outcome) -> dict[str, Any]:
        prediction = self._results.answers[outcome.sha256 or ""]
        assert isinstance(prediction, Prediction)
        return {
            **self._identity(outcome),
            "sha256": outcome.sha256,
            **vars(prediction),
            "model_version": self._run.model_version,
            "trained_by": self._run.computed_by,
            "scored_at": self._now,
        }

    def _identity(self, outcome: Outcome) -> dict[str, Any]:
        reference, run = outcome.reference, self._run
        return {
            "source": run.source,
            "uri": reference.uri,
            "etag": reference.etag,
            "run_id": run.run_id,
        }


def score_failure(answer: Answer) -> Failure | None:
    """Why a model server gave no labels; None if it gave some."""
    if isinstance(answer, Prediction):
        return None
    code = getattr(answer, "code", FailureCode.SERVER_ERROR)
    return Failure("score", code, str(answer))


def time_after(last: str) -> datetime:
    """Now, or just after `last` where the clock was set back: later failures count as later."""
    now = datetime.now(UTC)
    return max(now, datetime.fromisoformat(last) + timedelta(milliseconds=1)) if last else now


def _table(schema: pa.Schema, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def _vectors(vectors: Sequence[NDArray[np.float32]]) -> pa.Array:
    """A list<float32> column of equally long vectors."""
    if not vectors:
        return pa.array([], pa.list_(pa.float32()))
    matrix = np.stack(vectors)
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix.reshape(-1)))
