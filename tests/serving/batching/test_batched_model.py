"""Requests that run together get what they would get alone."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.batching.batched_model import BatchedModel
from serving.batching.parameters import BatchingParameters
from serving.grpc_status import StatusError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

ROWS = 6
FETCHES = (["double"], ["sum", "double"], ["first", "sum"])


@st.composite
def parameters(draw):
    largest = draw(st.integers(ROWS, 2 * ROWS))
    allowed = draw(st.sets(st.integers(1, largest - 1), max_size=3))
    splits = draw(st.booleans())
    return BatchingParameters(
        max_batch_size=largest,
        batch_timeout_micros=draw(st.sampled_from([0, 300, 3000])),
        max_enqueued_batches=1000,
        num_batch_threads=draw(st.integers(1, 3)),
        allowed_batch_sizes=(*sorted(allowed), largest) if allowed else (),
        enable_large_batch_splitting=splits,
        max_execution_batch_size=draw(st.integers(1, largest)) if splits else None,
    )


requests = st.lists(
    st.tuples(
        st.integers(0, ROWS),
        st.integers(1, 2),
        st.sampled_from(["float32", "int64"]),
        st.sampled_from(FETCHES),
    ),
    min_size=1,
    max_size=30,
)


def rows(count, width=1, dtype="float32", start=0):
    return np.arange(start, start + count * width).reshape(count, width).astype(dtype)


def run_together(model, feeds, fetches=("double",)):
    """Outcomes, in order, of requests that are sent at once."""

    def run(x):
        try:
            return model.run({"x": x}, list(fetches))
        except (StatusError, ValueError) as error:
            return error

    with ThreadPoolExecutor(len(feeds)) as pool:
        return list(pool.map(run, feeds))


def wait_until(condition):
    give_up_at = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


def waiting(model):
    """Batches that stand in a model's queues."""
    return sum(len(queue) for _, _, queue in model._queues)


@settings(deadline=None, max_examples=60)
@given(parameters(), requests)
def test_each_request_gets_what_it_would_get_alone_in_batches_of_allowed_sizes(
    doubler_class, parameters, requests
):
    doubler = doubler_class()
    model = BatchedModel(doubler, parameters)
    alone = doubler_class()
    fed = [rows(n, width, dtype, 100 * i) for i, (n, width, dtype, _) in enumerate(requests)]
    with ThreadPoolExecutor(8) as pool:
        futures = [
            pool.submit(model.run, {"x": x}, fetches)
            for x, (*_, fetches) in zip(fed, requests, strict=True)
        ]
    for x, (*_, fetches), future in zip(fed, requests, futures, strict=True):
        for got, expected in zip(future.result(), alone.run({"x": x}, fetches), strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)
    allowed = parameters.allowed_batch_sizes or range(1, parameters.batch_rows + 1)
    assert set(doubler.sizes) <= {0, *allowed}


def test_requests_that_wait_for_a_busy_thread_run_as_one(doubler):
    model = BatchedModel(doubler, BatchingParameters(num_batch_threads=1))
    doubler.may_run.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(model.run, {"x": rows(1)}, ["double"])
        assert doubler.entered.acquire(timeout=20)
        others = [pool.submit(model.run, {"x": rows(2)}, ["double"]) for _ in range(8)]
        queue = next(q for ins, _, q in model._queues if ins == {"x"} and len(q))
        wait_until(lambda: queue._batches[0].rows == 16)
        doubler.may_run.set()
        assert all(len(future.result()[0]) == 2 for future in others)
    assert len(first.result()[0]) == 1
    assert doubler.sizes == [1, 16]


def test_a_lone_request_waits_for_others_no_longer_than_the_timeout(doubler):
    model = BatchedModel(doubler, BatchingParameters(batch_timeout_micros=200_000))
    started = time.monotonic()
    model.run({"x": rows(1)}, ["double"])
    assert 0.2 <= time.monotonic() - started < 5


def test_a_full_batch_does_not_wait_for_the_timeout(doubler):
    parameters = BatchingParameters(max_batch_size=4, batch_timeout_micros=60_000_000)
    started = time.monotonic()
    run_together(BatchedModel(doubler, parameters), [rows(1)] * 4)
    assert time.monotonic() - started < 20
    assert doubler.sizes == [4]


def test_the_clock_is_watched_while_another_queue_runs(doubler):
    parameters = BatchingParameters(
        max_batch_size=2, batch_timeout_micros=300_000, num_batch_threads=2
    )
    model = BatchedModel(doubler, parameters)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(model.run, {"x": rows(1)}, ["double"])
        time.sleep(0.05)
        doubler.may_run.clear()
        busy = pool.submit(model.run, {"x": rows(2), "y": rows(2)}, ["double"])
        assert doubler.entered.acquire(timeout=20)
        assert doubler.entered.acquire(timeout=20), "the first queue's batch has begun, too"
        doubler.may_run.set()
        assert len(waiting.result()[0]) == 1
        assert len(busy.result()[0]) == 2


def test_a_batch_is_filled_up_with_its_last_row(doubler):
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8))
    (double,) = BatchedModel(doubler, parameters).run({"x": rows(3)}, ["double"])
    np.testing.assert_array_equal(double, 2 * rows(3))
    np.testing.assert_array_equal(doubler.batches[0][:, 0], [0, 1, 2, 2])


def test_rows_of_unequal_shapes_never_meet(doubler):
    model = BatchedModel(doubler, BatchingParameters(batch_timeout_micros=50_000))
    narrow, wide = run_together(model, [rows(2, 1), rows(2, 3)])
    assert (narrow[0].shape, wide[0].shape) == ((2, 1), (2, 3))


def test_rows_of_unequal_shapes_are_padded_with_their_first_value_if_asked(doubler):
    parameters = BatchingParameters(
        max_batch_size=3, batch_timeout_micros=10_000_000, pad_variable_length_inputs=True
    )
    model = BatchedModel(doubler, parameters)
    narrow, wide = run_together(model, [rows(2, 1, start=5), rows(1, 3)])
    np.testing.assert_array_equal(narrow[0], [[10, 10, 10], [12, 10, 10]])
    np.testing.assert_array_equal(wide[0], [[0, 2, 4]])


def test_an_error_is_one_of_every_request_of_its_batch(doubler):
    parameters = BatchingParameters(max_batch_size=3, batch_timeout_micros=10_000_000)
    texts = [np.array([value, None], object)[:1] for value in (b"good", b"bad", b"fine")]
    outcomes = run_together(BatchedModel(doubler, parameters), texts)
    assert [str(outcome) for outcome in outcomes] == ["a bad row"] * 3


@pytest.mark.parametrize(
    ("feeds", "text"),
    [
        ({"x": np.zeros((2, 1)), "y": np.zeros((3, 1))}, "must have equal 0th-dimension size"),
        ({"x": np.zeros(()), "y": np.zeros(())}, "must have at least one dimension"),
    ],
)
def test_inputs_must_agree_on_their_rows(doubler, feeds, text):
    with pytest.raises(StatusError) as caught:
        BatchedModel(doubler, BatchingParameters()).run(feeds, ["double"])
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.text == f"Batching Run() input tensors {text}"


def test_a_request_larger_than_a_batch_is_refused(doubler):
    with pytest.raises(StatusError) as caught:
        BatchedModel(doubler, BatchingParameters(max_batch_size=4)).run({"x": rows(5)}, ["sum"])
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.text == "Task size 5 is larger than maximum input batch size 4"


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("scalar", "Batched output tensor has 0 dimensions"),
        (
            "total",
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension"
            " sizes of the input tensors",
        ),
    ],
)
def test_an_output_without_a_row_for_each_row_fails_the_batch(doubler, output, text):
    with pytest.raises(StatusError) as caught:
        BatchedModel(doubler, BatchingParameters()).run({"x": rows(2)}, ["double", output])
    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.text == text


def test_a_request_that_fits_no_signature_bypasses_the_queues(doubler):
    model = BatchedModel(doubler, BatchingParameters(max_batch_size=1))
    # `first` and `total` are of two signatures.
    first, total = model.run({"x": rows(2)}, ["first", "total"])
    assert (len(first), len(total)) == (2, 3)


def test_a_request_gives_up_after_its_timeout_while_the_threads_are_busy(doubler):
    model = BatchedModel(doubler, BatchingParameters(num_batch_threads=1))
    doubler.may_run.clear()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(model.run, {"x": rows(1)}, ["double"])
        assert doubler.entered.acquire(timeout=20)
        with pytest.raises(StatusError) as caught:
            model.run({"x": rows(2)}, ["double"], timeout_seconds=0.05)
        doubler.may_run.set()
        assert len(busy.result()[0]) == 1
    assert caught.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.text == "Run() timeout exceeded while waiting in batching queue"
    model.run({"x": rows(3)}, ["double"])
    assert doubler.sizes == [1, 3]


def test_what_has_begun_is_not_given_up(doubler):
    model = BatchedModel(doubler, BatchingParameters())
    doubler.may_run.clear()
    threading.Timer(0.3, doubler.may_run.set).start()
    assert len(model.run({"x": rows(1)}, ["double"], timeout_seconds=0.05)[0]) == 1


def test_models_with_equal_parameters_share_their_threads_until_the_last_is_gone(doubler_class):
    parameters = BatchingParameters(num_batch_threads=3, thread_pool_name="shared_by_test")

    def threads():
        return [t for t in threading.enumerate() if t.name.startswith("shared_by_test")]

    models = [BatchedModel(doubler_class(), parameters) for _ in range(4)]
    for model in models:
        model.run({"x": rows(1)}, ["double"])
    assert len(threads()) == 3
    del models[1:], model
    models[0].run({"x": rows(1)}, ["double"])
    models.clear()
    wait_until(lambda: not threads())


def test_a_model_is_freed_with_its_last_reference_and_no_other_is_disturbed(doubler_class):
    parameters = BatchingParameters(num_batch_threads=2)
    old, new = (BatchedModel(doubler_class(), parameters) for _ in range(2))
    old.run({"x": rows(1)}, ["double"])
    freed = weakref.ref(old._servable)
    gc.disable()
    try:
        del old
        wait_until(lambda: freed() is None)
    finally:
        gc.enable()
    assert len(new.run({"x": rows(1)}, ["double"])[0]) == 1


def test_queues_take_turns(doubler_class):
    parameters = BatchingParameters(max_batch_size=1, num_batch_threads=1)
    first, second = doubler_class(), doubler_class()
    second.batches = first.batches
    models = [BatchedModel(first, parameters), BatchedModel(second, parameters)]
    first.may_run.clear()
    with ThreadPoolExecutor(5) as pool:
        pool.submit(models[0].run, {"x": rows(1)}, ["double"])
        assert first.entered.acquire(timeout=20)
        for value, model in ((1, models[0]), (2, models[0]), (3, models[0]), (4, models[1])):
            before = waiting(model)
            pool.submit(model.run, {"x": rows(1, start=value)}, ["double"])
            wait_until(lambda model=model, before=before: waiting(model) == before + 1)
        first.may_run.set()
    assert [int(x[0, 0]) for x in first.batches] == [0, 1, 4, 2, 3]


def test_the_parts_of_a_large_request_run_on_all_threads(doubler):
    parameters = BatchingParameters(
        max_batch_size=8,
        num_batch_threads=2,
        enable_large_batch_splitting=True,
        max_execution_batch_size=2,
    )
    model = BatchedModel(doubler, parameters)
    doubler.may_run.clear()
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(model.run, {"x": rows(7)}, ["double"])
        assert doubler.entered.acquire(timeout=20)
        assert doubler.entered.acquire(timeout=20), "a second part has begun beside the first"
        doubler.may_run.set()
        np.testing.assert_array_equal(large.result()[0], 2 * rows(7))
    assert sorted(doubler.sizes) == [1, 2, 2, 2]
