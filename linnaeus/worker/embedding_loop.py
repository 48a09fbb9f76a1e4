"""From references to outcomes: many reads in flight, few decoding threads, one engine.

This is the function inside a shard. It runs without Beam, and never fails because of an image:
whatever is wrong with one comes out as its outcome.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from linnaeus.engines import Engine
from linnaeus.errors import FailureCode, ImageError, StorageError, StoreUnavailable
from linnaeus.images import DECODERS, Picture
from linnaeus.records import ObjectReference
from linnaeus.storage import is_local

Read = Callable[[ObjectReference], bytes]
Decode = Callable[[bytes], Picture]


@dataclass(frozen=True)
class Source:
    """How an object becomes pixels."""

    read: Read
    """Gives an object's bytes or raises `StorageError`; `StoreUnavailable` ends the whole."""
    decode: Decode | None
    """Gives a picture or raises `ImageError`; None leaves the bytes as they are."""
    known: Container[str] = ()
    """SHA-256 of contents whose vectors the table has."""


@dataclass(frozen=True)
class Failure:
    """Why an object could not be done, and at which stage: read, decode or score."""

    stage: str
    code: FailureCode
    message: str


@dataclass(frozen=True)
class Outcome:
    """What became of one object: a content with its picture's facts, or a failure."""

    reference: ObjectReference
    sha256: str | None = None
    bytes_read: int = 0
    width: int | None = None
    height: int | None = None
    format: str | None = None
    payload: bytes | NDArray[np.uint8] | None = None
    """The object's bytes or pixels, while they are on their way; None in an engine's outcome."""
    embedding: NDArray[np.float32] | None = None
    """float32 [D]; None for a failure, and where another outcome or the table has it."""
    failure: Failure | None = None
    read_msec: float = 0.0
    decode_msec: float = 0.0
    inference_msec: float = 0.0
    """Waited for the engine since the outcome before, while pixels were ready."""


@dataclass(frozen=True)
class Concurrency:
    """How much is under way at once."""

    reads: int = 32
    decoders: int = DECODERS
    ahead_objects: int = 64
    """Objects between the first byte read and the engine."""
    ahead_bytes: int = 128 << 20
    """Encoded bytes among them; one object may exceed it alone."""

    @classmethod
    def fit_for(cls, references: Sequence[ObjectReference]) -> "Concurrency":
        """Few reads of local files, which only hand threads over to each other; else many."""
        return cls(reads=4 if all(is_local(r.uri) for r in references) else 32)


def embed_objects(
    references: Sequence[ObjectReference],
    source: Source,
    engine: Engine,
    concurrency: Concurrency | None = None,
) -> Iterator[Outcome]:
    """Embed each object; outcomes come in any order, one an object.

    A content that comes twice, or whose vector the table has, is not decoded again; its outcome
    has no vector.

    Args:
        references: what to read.
        source: gives pictures of the engine's size.
        engine: turns pixels into vectors.
        concurrency: how much is under way at once; by default what fits the references.
    """
    pictures = _Pictures(decoded(references, source, concurrency))
    marked, waited_before = time.perf_counter(), 0.0
    for outcome, vector in engine.stream(iter(pictures)):
        now = time.perf_counter()
        waited, waited_before = pictures.waited_seconds - waited_before, pictures.waited_seconds
        inference_msec = (now - marked - waited) * 1000
        yield replace(
            outcome, payload=None, embedding=np.array(vector), inference_msec=inference_msec
        )
        yield from pictures.take_settled()
        marked = time.perf_counter()
    yield from pictures.take_settled()


class _Pictures:
    """The outcomes that have pixels; sets aside those that are settled without an engine."""

    def __init__(self, outcomes: Iterator[Outcome]) -> None:
        self._outcomes = outcomes
        self._settled: list[Outcome] = []
        self.waited_seconds = 0.0

    def __iter__(self) -> Iterator[tuple[Outcome, NDArray[np.uint8]]]:
        while (outcome := self._next()) is not None:
            if isinstance(outcome.payload, np.ndarray):
                yield outcome, outcome.payload
            else:
                self._settled.append(outcome)

    def _next(self) -> Outcome | None:
        started = time.perf_counter()
        outcome = next(self._outcomes, None)
        self.waited_seconds += time.perf_counter() - started
        return outcome

    def take_settled(self) -> list[Outcome]:
        settled, self._settled = self._settled, []
        return settled


def decoded(
    references: Sequence[ObjectReference],
    source: Source,
    concurrency: Concurrency | None = None,
) -> Iterator[Outcome]:
    """Read and decode each object; outcomes come in any order, one an object.

    The first outcome of a content carries pixels, or bytes where the source does not decode.
    Others of the same content carry none, and share its failure if it has one.
    """
    concurrency = concurrency or Concurrency.fit_for(references)
    with (
        ThreadPoolExecutor(concurrency.reads, "read") as readers,
        ThreadPoolExecutor(concurrency.decoders, "decode") as decoders,
    ):
        stream = _Stream(source, readers, decoders)
        try:
            yield from stream.run(references, concurrency)
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
            decoders.shutdown(wait=False, cancel_futures=True)


@dataclass
class _Ahead:
    """What is between the first byte read and the engine."""

    objects: int = 0
    encoded_bytes: int = 0

    def exceeds(self, limits: Concurrency, more: ObjectReference) -> bool:
        """Whether one more object is too much; the first never is."""
        if not self.objects:
            return False
        too_many = self.objects >= limits.ahead_objects
        return too_many or self.encoded_bytes + more.size > limits.ahead_bytes

    def add(self, reference: ObjectReference) -> None:
        self.objects += 1
        self.encoded_bytes += reference.size

    def without(self, outcome: Outcome) -> Outcome:
        """Take out an object whose outcome is ready."""
        self.objects -= 1
        self.encoded_bytes -= outcome.reference.size
        return outcome


class _Stream:
    """The state of one call of `decoded`."""

    def __init__(
        self, source: Source, readers: ThreadPoolExecutor, decoders: ThreadPoolExecutor
    ) -> None:
        self._source, self._readers, self._decoders = source, readers, decoders
        self._ready: SimpleQueue[Future[Outcome]] = SimpleQueue()
        self._lock = threading.Lock()
        self._seen: set[str] = set()

    def run(
        self, references: Iterable[ObjectReference], concurrency: Concurrency
    ) -> Iterator[Outcome]:
        """Keep objects under way up to the limits; hand out each as it is ready."""
        first: dict[str, Outcome] = {}
        repeats: list[Outcome] = []
        for outcome in self._under_way(references, concurrency):
            if outcome.sha256 is None:
                yield outcome
            elif outcome.payload is None and outcome.failure is None:
                repeats.append(outcome)
            else:
                first[outcome.sha256] = replace(outcome, payload=None)
                yield outcome
        yield from (_as_first(repeat, first) for repeat in repeats)

    def _under_way(
        self, references: Iterable[ObjectReference], concurrency: Concurrency
    ) -> Iterator[Outcome]:
        """Fill up, hand out half, fill up again: threads woken for every image cost time."""
        ahead = _Ahead()
        for reference in references:
            if ahead.exceeds(concurrency, reference):
                half = replace(
                    concurrency,
                    ahead_objects=concurrency.ahead_objects // 2,
                    ahead_bytes=concurrency.ahead_bytes // 2,
                )
                while ahead.exceeds(half, reference):
                    yield ahead.without(self._ready.get().result())
            ahead.add(reference)
            self._start(reference)
        while ahead.objects:
            yield ahead.without(self._ready.get().result())

    def _start(self, reference: ObjectReference) -> None:
        self._readers.submit(self._read_one, reference).add_done_callback(self._when_read)

    def _read_one(self, reference: ObjectReference) -> Outcome:
        started = time.perf_counter()
        try:
            data = self._source.read(reference)
        except StoreUnavailable:
            raise
        except StorageError as error:
            return Outcome(reference, failure=Failure("read", error.code, str(error)))
        outcome = Outcome(
            reference,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes_read=len(data),
            read_msec=_msec_since(started),
        )
        return replace(outcome, payload=data) if self._is_new(outcome) else outcome

    def _is_new(self, outcome: Outcome) -> bool:
        assert outcome.sha256 is not None
        if outcome.sha256 in self._source.known:
            return False
        with self._lock:
            is_new = outcome.sha256 not in self._seen
            self._seen.add(outcome.sha256)
        return is_new

    def _when_read(self, future: Future[Outcome]) -> None:
        if future.cancelled():
            return
        if self._source.decode is None or future.exception() or future.result().payload is None:
            self._ready.put(future)
            return
        try:
            decoding = self._decoders.submit(self._decode_one, future.result())
        except RuntimeError:  # the consumer stopped early and the pool is shut down
            return
        decoding.add_done_callback(self._ready.put)

    def _decode_one(self, outcome: Outcome) -> Outcome:
        started = time.perf_counter()
        assert self._source.decode is not None
        assert isinstance(outcome.payload, bytes)
        try:
            picture = self._source.decode(outcome.payload)
        except ImageError as error:
            failure = Failure("decode", error.code, str(error))
            return replace(outcome, payload=None, failure=failure, decode_msec=_msec_since(started))
        return replace(
            outcome,
            payload=picture.pixels,
            width=picture.width,
            height=picture.height,
            format=picture.format,
            decode_msec=_msec_since(started),
        )


def _as_first(repeat: Outcome, first: Mapping[str, Outcome]) -> Outcome:
    """The outcome of a repeated content: what its first occurrence found, but no vector."""
    assert repeat.sha256 is not None
    found = first.get(repeat.sha256)
    if found is None:  # the table has it
        return repeat
    return replace(
        repeat,
        width=found.width,
        height=found.height,
        format=found.format,
        failure=found.failure,
    )


def _msec_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
