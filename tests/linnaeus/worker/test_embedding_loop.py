import hashlib
import io
import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from linnaeus import images
from linnaeus.errors import FailureCode, StorageError
from linnaeus.records import ObjectReference
from linnaeus.worker import Source, decoded, embed_objects
from linnaeus.worker.embedding_loop import Concurrency
from tests.pixel_engine import SIZE, PixelEngine


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


PICTURES = [png(seed) for seed in range(6)]


class Bucket:
    """Objects in memory, by uri; those without content are not there."""

    def __init__(self, objects: dict[str, bytes | None]) -> None:
        self.objects = objects
        self.references = [ObjectReference(u, "e", len(b or b"")) for u, b in objects.items()]

    def read(self, reference: ObjectReference) -> bytes:
        data = self.objects[reference.uri]
        if data is None:
            raise StorageError(f"{reference.uri} is gone", FailureCode.NOT_FOUND)
        return data


def decode(data: bytes) -> images.Picture:
    return images.decode(data, SIZE, SIZE)


def embed(bucket: Bucket, engine: PixelEngine, known=None, concurrency=None):
    source = Source(bucket.read, decode, known or ())
    outcomes = list(embed_objects(bucket.references, source, engine, concurrency))
    assert Counter(o.reference.uri for o in outcomes) == Counter(list(bucket.objects))
    return {o.reference.uri: o for o in outcomes}


content = st.one_of(st.sampled_from(PICTURES), st.sampled_from([None, b"", b"no picture"]))


@settings(max_examples=30, deadline=None)
@given(contents=st.lists(content, max_size=25), ahead=st.integers(1, 9))
def test_every_object_has_one_outcome_as_a_plain_loop_would_give_it(contents, ahead):
    bucket = Bucket({f"u{i:02d}": data for i, data in enumerate(contents)})
    engine = PixelEngine()
    outcomes = embed(bucket, engine, concurrency=Concurrency(ahead_objects=ahead))
    vectors = {o.sha256: o.embedding for o in outcomes.values() if o.embedding is not None}
    for uri, data in bucket.objects.items():
        outcome = outcomes[uri]
        if data in PICTURES:
            expected = PixelEngine().embed(decode(data).pixels[None])[0]
            assert outcome.failure is None
            assert outcome.sha256 == hashlib.sha256(data).hexdigest()
            np.testing.assert_array_equal(vectors[outcome.sha256], expected)
        else:
            codes = {None: "NOT_FOUND", b"": "EMPTY", b"no picture": "NOT_AN_IMAGE"}
            assert outcome.failure.code == codes[data]
            assert outcome.embedding is None
    assert engine.embedded == len({data for data in contents if data in PICTURES})


def test_equal_contents_are_decoded_once_and_share_what_was_found():
    decodings = Counter()

    def counting(data):
        decodings[data] += 1
        return decode(data)

    bucket = Bucket({f"u{i}": PICTURES[0] for i in range(50)})
    source = Source(bucket.read, counting)
    outcomes = list(embed_objects(bucket.references, source, PixelEngine()))
    assert decodings == {PICTURES[0]: 1}
    assert sum(o.embedding is not None for o in outcomes) == 1
    assert {(o.width, o.height, o.format) for o in outcomes} == {(SIZE, SIZE, "PNG")}


def test_a_content_whose_vector_is_stored_is_not_decoded():
    bucket = Bucket({"renamed": PICTURES[1], "replaced": PICTURES[2]})
    engine = PixelEngine()
    known = {hashlib.sha256(PICTURES[1]).hexdigest()}
    outcomes = embed(bucket, engine, known)
    assert outcomes["renamed"].embedding is None
    assert outcomes["renamed"].failure is None
    assert outcomes["replaced"].embedding is not None
    assert engine.embedded == 1


def test_no_more_objects_are_under_way_than_allowed():
    under_way, most, lock = set(), [0], threading.Lock()
    bucket = Bucket({f"u{i}": png(100 + i) for i in range(40)})

    def read(reference):
        with lock:
            under_way.add(reference.uri)
            most[0] = max(most[0], len(under_way))
        return bucket.read(reference)

    limits = Concurrency(reads=16, ahead_objects=5)
    for outcome in decoded(bucket.references, Source(read, decode), limits):
        time.sleep(0.001)
        with lock:
            under_way.discard(outcome.reference.uri)
    assert 2 <= most[0] <= 6  # five, and the one that the consumer holds


def test_large_objects_wait_for_each_other():
    reads, most, lock = [0], [0], threading.Lock()
    bucket = Bucket({f"u{i}": png(200 + i) for i in range(8)})
    bucket.references = [ObjectReference(r.uri, r.etag, 1 << 30) for r in bucket.references]

    def read(reference):
        with lock:
            reads[0] += 1
            most[0] = max(most[0], reads[0])
        data = bucket.read(reference)
        time.sleep(0.005)
        with lock:
            reads[0] -= 1
        return data

    assert len(list(decoded(bucket.references, Source(read, decode)))) == 8
    assert most[0] == 1


def test_without_a_decoder_the_bytes_come_as_they_are():
    bucket = Bucket({"a": PICTURES[0], "b": b"whatever"})
    outcomes = list(decoded(bucket.references, Source(bucket.read, None)))
    assert {o.reference.uri: o.payload for o in outcomes} == bucket.objects


def test_an_early_end_leaves_no_thread_behind():
    bucket = Bucket({f"u{i}": png(300 + i) for i in range(200)})
    before = threading.active_count()
    stream = decoded(bucket.references, Source(bucket.read, decode))
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_an_engine_that_breaks_ends_the_stream_with_its_error():
    class Broken(PixelEngine):
        def embed(self, pixels):
            raise MemoryError("out of memory")

    bucket = Bucket({"a": PICTURES[0]})
    with pytest.raises(MemoryError):
        list(embed_objects(bucket.references, Source(bucket.read, decode), Broken()))
