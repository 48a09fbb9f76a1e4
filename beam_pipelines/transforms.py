"""PTransforms for pipelines of one's own: from references to rows, by the function inside a shard.

references = pipeline | beam.Create([ObjectReference("s3://bucket/a.jpg", etag, size)])
embedded = references | EmbedImages(workspace, fingerprint)
embedded.rows | ...
embedded.failures | ...
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.shared import Shared

from beam_pipelines.worker_options import WorkerOptions, open_worker
from linnaeus import models
from linnaeus.backbones import views
from linnaeus.planning import EmbedJob, RunSpec
from linnaeus.records import ObjectReference
from linnaeus.runs import scoring_by
from linnaeus.storage import Folder
from linnaeus.worker import Failure, Outcome, Source, embed_objects, read, score_failure

FAILURES = "failures"
BATCH_OBJECTS = 256


class Rows(NamedTuple):
    """What a transform gives: rows of images that are done, and of those that are not."""

    rows: beam.PCollection
    failures: beam.PCollection


class EmbedImages(beam.PTransform):
    """ObjectReference to {uri, etag, sha256, width, height, format, embedding float32 [D]}.

    Failures are {uri, etag, stage, code, message}. The backbone must be prepared in the workspace.
    Nothing is stored, and equal contents are computed once a batch.
    """

    def __init__(self, workspace: str, fingerprint: str, engine: str = "auto") -> None:
        super().__init__()
        self._run = EmbedJob(fingerprint).new_run("", "")
        self._options = WorkerOptions(workspace, "", engine)

    @no_annotations  # Beam's hints know no pair of collections
    def expand(self, references: beam.PCollection) -> Rows:
        """Apply to a PCollection of `ObjectReference`."""
        return _by_outcome(references, _EmbedBatch(self._run, self._options), "Embed batches")


class ScoreImages(beam.PTransform):
    """ObjectReference to {uri, etag, sha256, label, confidence, labels, top_labels, top_scores}.

    The worker embeds, the server at `server` (`host:port`) scores. Failures are as in
    `EmbedImages`. `model` is `NAME` or `NAME:VERSION` of the workspace.
    """

    def __init__(self, workspace: str, model: str, server: str, engine: str = "auto") -> None:
        super().__init__()
        self._workspace, self._model = workspace, model
        self._options = WorkerOptions(workspace, "", engine, server)

    @no_annotations  # Beam's hints know no pair of collections
    def expand(self, references: beam.PCollection) -> Rows:
        """Apply to a PCollection of `ObjectReference`."""
        model = models.load_model(Folder(self._workspace), self._model)
        run = scoring_by(model, "embedding").new_run("", "")
        return _by_outcome(references, _ScoreBatch(run, self._options), "Score batches")


def _by_outcome(references: beam.PCollection, do_batch: beam.DoFn, title: str) -> Rows:
    done = (
        references
        | "Batch references" >> beam.BatchElements(min_batch_size=64, max_batch_size=BATCH_OBJECTS)
        | title >> beam.ParDo(do_batch).with_outputs(FAILURES, main="rows")
    )
    return Rows(done.rows, done[FAILURES])


class _EmbedBatch(beam.DoFn):
    def __init__(self, run: RunSpec, options: WorkerOptions) -> None:
        self._run, self._options = run, options
        self._shared = Shared()

    def setup(self) -> None:
        self._worker = self._shared.acquire(lambda: open_worker(self._options, self._run))

    def process(self, references: list[ObjectReference]) -> Iterator[Any]:
        """From a batch of references to rows; each content is computed once."""
        outcomes = self._embed(references)
        vectors = {o.sha256: o.embedding for o in outcomes if o.embedding is not None}
        for outcome in outcomes:
            if outcome.failure:
                yield _failure_row(outcome.reference, outcome.failure)
            else:
                yield {**_object_row(outcome), "embedding": vectors[outcome.sha256]}

    def _embed(self, references: list[ObjectReference]) -> list[Outcome]:
        source = Source(read, views.decoder(self._worker.spec))
        return list(embed_objects(references, source, self._worker.engine))


class _ScoreBatch(_EmbedBatch):
    def process(self, references: list[ObjectReference]) -> Iterator[Any]:
        """From a batch of references to rows; each content is asked for once."""
        outcomes = self._embed(references)
        vectors = {o.sha256: o.embedding for o in outcomes if o.sha256 and o.embedding is not None}
        answers = dict(self._worker.score(vectors.items()))
        for outcome in outcomes:
            failure = outcome.failure or score_failure(answers[outcome.sha256 or ""])
            if failure:
                yield _failure_row(outcome.reference, failure)
            else:
                prediction = vars(answers[outcome.sha256 or ""])
                yield {**_object_row(outcome), **prediction}


def _object_row(outcome: Outcome) -> dict[str, Any]:
    return {
        "uri": outcome.reference.uri,
        "etag": outcome.reference.etag,
        "sha256": outcome.sha256,
        "width": outcome.width,
        "height": outcome.height,
        "format": outcome.format,
    }


def _failure_row(reference: ObjectReference, failure: Failure) -> TaggedOutput:
    row = {"uri": reference.uri, "etag": reference.etag, **vars(failure), "code": str(failure.code)}
    return TaggedOutput(FAILURES, row)
