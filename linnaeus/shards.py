"""One shard of a run: from its rows in the plan to its parts in the tables.

A shard is tried as often as a runner likes. Each attempt writes parts of its own; the receipt
(the last part, create-only) decides which attempt counts and names its parts, so attempts never
mix and a late one changes nothing.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from linnaeus import images, layout, parts, plans
from linnaeus.embedding import Concurrency, Decode, Failure, Outcome, Source, decoded, embed_objects
from linnaeus.embeddings import EmbeddingTable
from linnaeus.errors import FailureCode
from linnaeus.isolation import IsolatedDecoder
from linnaeus.parts import Part
from linnaeus.plans import PlannedObject, RunSpec
from linnaeus.records import (
    EMBEDDINGS,
    FAILURES,
    OBJECTS,
    PREDICTIONS,
    Counts,
    ObjectReference,
    Prediction,
)
from linnaeus.storage import Folder, read_object
from linnaeus.worker import Answer, Worker


@dataclass(frozen=True)
class Timings:
    """Milliseconds of a shard: reading and decoding summed over threads, waited for the engine."""

    read_msec: float = 0.0
    decode_msec: float = 0.0
    inference_msec: float = 0.0


@dataclass(frozen=True)
class Receipt:
    """What a finished shard did: its counts, and the parts of the attempt that did it."""

    shard: int
    counts: Counts
    parts: dict[str, Part] = field(default_factory=dict)
    """By table's key; without the receipt's own part, and without empty ones."""
    timings: Timings = Timings()

    def to_json(self) -> str:
        """For the last part's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Receipt":
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(
            fields["shard"],
            Counts(**fields["counts"]),
            {table: Part(**part) for table, part in fields["parts"].items()},
            Timings(**fields["timings"]),
        )


@dataclass(frozen=True)
class Shard:
    """A shard at work: whose, which, which attempt, and with what."""

    worker: Worker
    number: int
    attempt: int

    @property
    def run(self) -> RunSpec:
        """The run it belongs to."""
        return self.worker.run


@dataclass(frozen=True)
class Results:
    """What became of a shard's objects; answers are the model server's, by content."""

    outcomes: Sequence[Outcome]
    answers: dict[str, Answer] = field(default_factory=dict)


def receipt_table(run: RunSpec) -> str:
    """The table whose part is written last, and so says that a shard is done."""
    return layout.predictions(run.model) if run.job == "score" else layout.OBJECTS


def read_receipt(workspace: Folder, run: RunSpec, number: int) -> Receipt:
    """A done shard's receipt."""
    key = layout.shard_part(receipt_table(run), run.run_id, number)
    return Receipt.from_json(parts.read_metadata(workspace, key)["receipt"])


def do_shard(worker: Worker, number: int, concurrency: Concurrency | None = None) -> Receipt:
    """Embed, and in a scoring run score, a shard's objects; does nothing if that is done.

    Raises:
        StorageError: the workspace cannot be read or written.
        ServingError: the model server cannot be reached.
    """
    key = layout.shard_part(receipt_table(worker.run), worker.run.run_id, number)
    if worker.workspace.head(key) is None:
        shard = begin(worker, number)
        finish(shard, work(shard, concurrency))
    return read_receipt(worker.workspace, worker.run, number)


def begin(worker: Worker, number: int) -> Shard:
    """Leave a marker that says which attempt at the shard this is, from 1."""
    attempt = 1
    while not worker.workspace.write_new(layout.attempt(worker.run.run_id, number, attempt), b""):
        attempt += 1
    return Shard(worker, number, attempt)


def work(shard: Shard, concurrency: Concurrency | None = None) -> Results:
    """Do a shard's objects; nothing is written."""
    concurrency = concurrency or Concurrency()
    planned = plans.read_shard(shard.worker.workspace, shard.run.run_id, shard.number)
    with closing(_Decoder(shard)) as decoder:
        if shard.attempt > 1:
            concurrency = replace(concurrency, decoders=1)
        work = _Work(shard.worker, planned, decoder.decode, concurrency)
        if shard.run.job == "embed":
            return Results(list(work.embed()))
        return work.score_embeddings() if shard.run.payload == "embedding" else work.score_images()


class _Decoder:
    """Decodes in this process, or, once a worker has died of the shard, in one of its own."""

    def __init__(self, shard: Shard) -> None:
        self._isolated: IsolatedDecoder | None = None
        self.decode: Decode | None = None
        if shard.run.payload == "image":
            return
        height, width = shard.worker.spec.height, shard.worker.spec.width
        if shard.attempt > 1:
            self._isolated = IsolatedDecoder(height, width, images.Limits())
            self.decode = self._isolated.decode
        else:
            self.decode = lambda data: images.decode(data, height, width)

    def close(self) -> None:
        if self._isolated:
            self._isolated.close()


@dataclass(frozen=True)
class _Work:
    worker: Worker
    planned: Sequence[PlannedObject]
    decode: Decode | None
    concurrency: Concurrency

    def embed(self) -> Iterator[Outcome]:
        """Outcomes of the objects that have no stored vector."""
        new = [p for p in self.planned if not p.embedded]
        known = {p.reference.uri: p.sha256 for p in new if p.sha256}
        references = [p.reference for p in new]
        if not references:
            return iter(())
        source = Source(read, self.decode, known)
        return embed_objects(references, source, self.worker.engine, self.concurrency)

    def score_embeddings(self) -> Results:
        """Embed what is not embedded; send each content's vector to the server once."""
        outcomes = list(self.embed())
        new = {o.sha256: o.embedding for o in outcomes if o.sha256 and o.embedding is not None}
        elsewhere = {o.sha256 for o in outcomes if not o.failure} - set(new)
        stored = [p for p in self.planned if p.embedded or p.sha256 in elsewhere]
        rows = [*new.items(), *self._stored_vectors(stored)]
        outcomes += [Outcome(p.reference, p.sha256) for p in stored if p.embedded]
        return Results(outcomes, dict(self.worker.score(rows)))

    def _stored_vectors(
        self, stored: Sequence[PlannedObject]
    ) -> Iterator[tuple[str, NDArray[np.float32]]]:
        table = EmbeddingTable(self.worker.workspace, self.worker.run.fingerprint)
        by_part: dict[str, dict[str, int]] = {}
        for p in stored:
            assert p.part is not None
            assert p.row is not None
            assert p.sha256 is not None
            by_part.setdefault(p.part, {})[p.sha256] = p.row
        for part, rows in by_part.items():
            vectors = table.vectors(part)
            yield from ((digest, vectors[row]) for digest, row in rows.items())

    def score_images(self) -> Results:
        """Send each content's pixels or bytes to the server; no vector is computed here."""
        outcomes: list[Outcome] = []

        def contents() -> Iterator[tuple[str, Any]]:
            references = [p.reference for p in self.planned]
            for outcome in decoded(references, Source(read, self.decode), self.concurrency):
                outcomes.append(replace(outcome, payload=None))
                if outcome.payload is not None and outcome.sha256:
                    yield outcome.sha256, outcome.payload

        answers = dict(self.worker.score(contents()))
        return Results(outcomes, answers)


def read(reference: ObjectReference) -> bytes:
    """The object's bytes; raises `StorageError` where they cannot be had or have changed."""
    return read_object(reference.uri, reference.etag)


def finish(shard: Shard, results: Results) -> None:
    """Write the attempt's parts, its receipt last: nothing changes if another attempt has one."""
    written = write_parts(shard, results)
    rows = _Rows(shard, results)
    receipt = Receipt(shard.number, rows.counts(), written, rows.timings())
    table = receipt_table(shard.run)
    key = layout.shard_part(table, shard.run.run_id, shard.number)
    last = rows.predictions() if shard.run.job == "score" else rows.objects()
    parts.write(shard.worker.workspace, key, last, {"receipt": receipt.to_json()})


def write_parts(shard: Shard, results: Results) -> dict[str, Part]:
    """Write all parts but the receipt's, under names of this attempt's own."""
    rows, run = _Rows(shard, results), shard.run
    tables = {
        layout.embeddings(run.fingerprint): rows.embeddings(),
        layout.FAILURES: rows.failures(),
    }
    if run.job == "score":
        tables[layout.OBJECTS] = rows.objects()
    written = {}
    for table, content in tables.items():
        key = layout.attempt_part(table, run.run_id, shard.number, shard.attempt)
        part = parts.write(shard.worker.workspace, key, content) if content.num_rows else None
        if part:
            written[table] = part
    return written


class _Rows:
    """A shard's results as rows of the tables."""

    def __init__(self, shard: Shard, results: Results) -> None:
        self._shard, self._run, self._results = shard, shard.run, results
        self._now = datetime.now(UTC)
        self._failed = [(o, f) for o in results.outcomes if (f := self._failure(o))]
        self._done = [o for o in results.outcomes if not self._failure(o)]

    def _failure(self, outcome: Outcome) -> Failure | None:
        if outcome.failure or self._run.job == "embed":
            return outcome.failure
        return score_failure(self._results.answers[outcome.sha256 or ""])

    def counts(self) -> Counts:
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
        outcomes = self._results.outcomes
        return Timings(
            sum(o.read_msec for o in outcomes),
            sum(o.decode_msec for o in outcomes),
            sum(o.inference_msec for o in outcomes),
        )

    def embeddings(self) -> pa.Table:
        rows = [o for o in self._results.outcomes if o.embedding is not None]
        columns = [
            pa.array([o.sha256 for o in rows], pa.string()),
            _vectors([o.embedding for o in rows if o.embedding is not None]),
            pa.array([self._run.run_id] * len(rows), pa.string()),
        ]
        return pa.table(columns, schema=EMBEDDINGS)

    def failures(self) -> pa.Table:
        return _table(FAILURES, [self._failure_row(o, f) for o, f in self._failed])

    def _failure_row(self, outcome: Outcome, failure: Failure) -> dict[str, Any]:
        return {
            **self._identity(outcome),
            "stage": failure.stage,
            "code": str(failure.code),
            "message": failure.message,
            "attempt": outcome.reference.attempt,
            "what": self._run.what,
            "decoder": decoder_of(self._run),
            "failed_at": self._now,
        }

    def objects(self) -> pa.Table:
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
        return _table(PREDICTIONS, [self._prediction_row(o) for o in self._done])

    def _prediction_row(self, outcome: Outcome) -> dict[str, Any]:
        prediction = self._results.answers[outcome.sha256 or ""]
        assert isinstance(prediction, Prediction)
        return {
            **self._identity(outcome),
            "sha256": outcome.sha256,
            **vars(prediction),
            "model_version": self._run.model_version,
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


def decoder_of(run: RunSpec) -> str:
    """What judged a run's images: this package's decoder, or the server that got their bytes."""
    return f"served {run.what}" if run.payload == "image" else images.decoder_version()


def _table(schema: pa.Schema, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def _vectors(vectors: Sequence[NDArray[np.float32]]) -> pa.Array:
    """A list<float32> column of equally long vectors."""
    if not vectors:
        return pa.array([], pa.list_(pa.float32()))
    matrix = np.stack(vectors)
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix.reshape(-1)))
