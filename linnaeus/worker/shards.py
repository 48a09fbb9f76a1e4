"""One shard of a run: from its rows in the plan to its parts in the tables.

A shard is tried as often as a runner likes. Each attempt writes parts of its own; the receipt
(the last part, create-only) decides which attempt counts and names its parts, so attempts never
mix and a late one changes nothing.
"""

import secrets
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from linnaeus import images, layout
from linnaeus.backbones import views
from linnaeus.errors import FailureCode, ImageError, StorageError
from linnaeus.images import isolation
from linnaeus.planning import PlannedObject, RunSpec, job_of, plans
from linnaeus.records import ObjectReference
from linnaeus.storage import Folder, is_local, read_object
from linnaeus.tables import Part, parts, stored_vectors
from linnaeus.worker.embedding_loop import Decode, Outcome, Source, decoded, embed_objects
from linnaeus.worker.receipts import Receipt, read_receipt, receipt_key
from linnaeus.worker.rows import Results, ShardRows
from linnaeus.worker.worker import Answer, Worker


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


def do_shard(worker: Worker, number: int) -> Receipt:
    """Embed, and in a scoring run score, a shard's objects; does nothing if that is done.

    Raises:
        StorageError: the workspace cannot be read or written.
        ServingError: the model server cannot be reached.
    """
    if worker.workspace.head(receipt_key(worker.run, number)) is None:
        shard = begin(worker, number)
        finish(shard, work(shard))
    return read_receipt(worker.workspace, worker.run, number)


def begin(worker: Worker, number: int) -> Shard:
    """Leave a marker that says which attempt at the shard this is, from 1."""
    attempt, own = 1, secrets.token_bytes(16)
    while not worker.workspace.write_own(layout.attempt(worker.run.run_id, number, attempt), own):
        attempt += 1
    return Shard(worker, number, attempt)


def work(shard: Shard) -> Results:
    """Do a shard's objects; nothing is written."""
    planned = plans.read_shard(shard.worker.workspace, shard.run.run_id, shard.number)
    # A server that gets the pictures' bytes decodes them itself.
    decode = None if shard.run.payload == "image" else views.decoder(shard.worker.spec)
    work, job = _Work(shard.worker, planned, decode), job_of(shard.run)
    if not job.asks_server:
        return Results(list(work.embed()))
    return work.score_embeddings() if job.computes_vectors else work.score_images()


@dataclass(frozen=True)
class _Work:
    worker: Worker
    planned: Sequence[PlannedObject]
    decode: Decode | None

    def embed(self) -> Iterator[Outcome]:
        """Outcomes of the objects that have no stored vector."""
        references = [p.reference for p in self.planned if not p.embedded]
        if not references:
            return iter(())
        source = Source(read, self.decode, self._known())
        return embed_objects(references, source, self.worker.engine)

    def _known(self) -> Container[str]:
        """Contents that need not be embedded again.

        In a bucket a copy keeps its etag, by which the plan knows it. A copied file has another.
        """
        new = [p for p in self.planned if not p.embedded]
        if any(p.sha256 is None and is_local(p.reference.uri) for p in new):
            return self.worker.stored
        return {p.sha256 for p in new if p.sha256 and p.part}

    def score_embeddings(self) -> Results:
        """Embed what is not embedded; send each content's vector to the server once."""
        outcomes = list(self.embed())
        new = {o.sha256: o.embedding for o in outcomes if o.sha256 and o.embedding is not None}
        outcomes += [Outcome(p.reference, p.sha256) for p in self.planned if p.embedded]
        stored = {o.sha256 for o in outcomes if o.sha256 and not o.failure} - set(new)
        # Read part by part while the server is busy with the one before.
        rows = chain(new.items(), self._stored_vectors(sorted(stored)))
        return Results(outcomes, dict(self.worker.score(rows)))

    def _stored_vectors(self, digests: Sequence[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        planned = {p.sha256: (p.part, p.row) for p in self.planned if p.part and p.row is not None}
        by_part: dict[str, dict[str, int]] = {}
        for digest in digests:
            part, row = planned.get(digest) or self.worker.stored.place(digest)
            by_part.setdefault(part, {})[digest] = row
        return stored_vectors(self.worker.workspace, self.worker.run.fingerprint, by_part)

    def score_images(self) -> Results:
        """Send each content's pixels or bytes to the server; no vector is computed here."""
        outcomes: list[Outcome] = []

        def contents() -> Iterator[tuple[str, Any]]:
            references = [p.reference for p in self.planned]
            for outcome in decoded(references, Source(read, self.decode)):
                outcomes.append(replace(outcome, payload=None))
                if outcome.payload is not None and outcome.sha256:
                    yield outcome.sha256, outcome.payload

        answers = self.worker.score(contents())
        return Results(outcomes, {content: seen_here(answer) for content, answer in answers})


def seen_here(answer: Answer) -> Answer:
    """What a server refuses, as this machine judges it: a server's word alone is not for ever."""
    if not isinstance(answer, ImageError) or answer.data is None:
        return answer
    try:
        picture = isolation.decode(answer.data, height=32, width=32)
    except ImageError as error:
        return ImageError(str(answer), error.code)
    said = answer.code is FailureCode.UNSUPPORTED and picture.format in images.PARTLY_EXPORTED
    if said or picture.format in images.NOT_EXPORTED:
        return ImageError(str(answer), FailureCode.UNSUPPORTED)
    if picture.width * picture.height > images.EXPORTED_PIXELS:
        return ImageError(str(answer), FailureCode.TOO_LARGE)
    return ImageError(f"{answer}; this machine decodes it", FailureCode.SERVER_ERROR)


def read(reference: ObjectReference) -> bytes:
    """The object's bytes; raises `StorageError` where they cannot be had or have changed.

    One that is larger than decoders take is refused unread: it might not fit into memory.
    """
    limit = images.Limits().image_bytes
    if reference.size > limit:
        raise StorageError(
            f"{reference.size:,} bytes are more than the limit of {limit:,}", FailureCode.TOO_LARGE
        )
    return read_object(reference.uri, reference.etag)


def finish(shard: Shard, results: Results) -> None:
    """Write the attempt's parts, its receipt last: nothing changes if another attempt has one."""
    written = write_parts(shard, results)
    rows = ShardRows(shard.run, results)
    receipt = Receipt(shard.number, rows.counts(), written, rows.timings())
    *_, last = job_of(shard.run).tables.values()
    key = receipt_key(shard.run, shard.number)
    parts.write(shard.worker.workspace, key, rows.of(last), {"receipt": receipt.to_json()})


def write_parts(shard: Shard, results: Results) -> dict[str, Part]:
    """Write all parts but the receipt's, under names of this attempt's own."""
    *others, _ = job_of(shard.run).tables.items()
    rows, written = ShardRows(shard.run, results), {}
    for table, schema in others:
        content = rows.of(schema)
        key = layout.attempt_part(table, shard.run.run_id, shard.number, shard.attempt)
        if content.num_rows:
            written[table] = _write_own(shard.worker.workspace, key, content)
    return written


def _write_own(workspace: Folder, key: str, content: pa.Table) -> Part:
    """Write a part that nobody else may write; without it the receipt would lose its rows."""
    data = parts.encode(content)
    if not workspace.write_own(key, data):
        raise StorageError(f"{workspace.uri_of(key)} is there already: run the same command again")
    return Part(key, len(data), content.num_rows)
