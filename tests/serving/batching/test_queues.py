"""Queues against a slow and obvious way to fill batches."""

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batching.parameters import BatchingParameters
from serving.batching.queues import BatchQueue
from serving.batching.tasks import Task
from serving.grpc_status import StatusError

pytestmark = pytest.mark.slow

LARGEST = 6
requests = st.lists(st.tuples(st.integers(0, LARGEST + 1), st.sampled_from("aab")), max_size=25)
lengths = st.integers(1, 6)


def task(rows, kind="a"):
    return Task({"x": np.arange(rows)}, ["y"], kind, None)


def queue(**parameters):
    return BatchQueue(BatchingParameters(max_batch_size=LARGEST, **parameters), print)


def drained(queue):
    """(task, first row, rows) of each piece, batch by batch."""
    taken = []
    while queue:
        taken.append([(p.task, p.start, p.rows) for p in queue.take()])
    return taken


def put_all(queue, tasks):
    """The tasks that were let in, and the codes of the refusals."""
    let_in, codes = [], []
    for each in tasks:
        try:
            queue.put(each)
            let_in.append(each)
        except StatusError as error:
            codes.append(error.code)
    return let_in, codes


@given(requests, lengths)
def test_batches_are_filled_in_order_as_far_as_whole_requests_of_one_kind_fit(sizes, length):
    tasks = [task(rows, kind) for rows, kind in sizes]
    batches, refused = [], []
    for each in tasks:
        alike = batches and batches[-1][0].kind == each.kind
        if each.rows > LARGEST:
            refused.append(grpc.StatusCode.INVALID_ARGUMENT)
        elif alike and sum(t.rows for t in batches[-1]) + each.rows <= LARGEST:
            batches[-1].append(each)
        elif len(batches) < length or each.rows == 0:
            batches.append([each])
        else:
            refused.append(grpc.StatusCode.UNAVAILABLE)
    under_test = queue(max_enqueued_batches=length)
    assert put_all(under_test, tasks)[1] == refused
    assert drained(under_test) == [[(t, 0, t.rows) for t in batch] for batch in batches]


@given(requests, lengths, st.integers(1, LARGEST))
def test_split_requests_fill_every_batch_and_lose_no_row(sizes, length, most):
    tasks = [task(rows) for rows, _ in sizes]
    under_test = queue(
        enable_large_batch_splitting=True,
        max_execution_batch_size=most,
        max_enqueued_batches=length,
    )
    let_in, _ = put_all(under_test, tasks)
    batches = drained(under_test)
    rows = [sum(rows for _, _, rows in batch) for batch in batches]
    assert len(batches) <= length
    assert all(size == most for size in rows[:-1])
    given_rows = [(t, row) for batch in batches for t, at, n in batch for row in range(at, at + n)]
    assert given_rows == [(t, row) for t in let_in for row in range(t.rows)]


def test_a_full_queue_says_how_long_it_is():
    full = queue(max_enqueued_batches=2)
    put_all(full, [task(LARGEST), task(LARGEST)])
    with pytest.raises(StatusError) as caught:
        full.put(task(1))
    assert caught.value.text == (
        "The batch scheduling queue to which this task was submitted is full; currently 2 batches"
        " enqueued and max_enqueued_batches is 2"
    )


def test_a_full_queue_that_splits_says_how_much_it_could_take():
    full = queue(enable_large_batch_splitting=True, max_enqueued_batches=2)
    put_all(full, [task(LARGEST), task(4)])
    with pytest.raises(StatusError) as caught:
        full.put(task(3))
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE
    assert caught.value.text == (
        "The batch scheduling queue to which this task was submitted is full; task size is 3 but"
        " scheduling capacity is only 2 (num_enqueued_batches=2, max_enqueued_batches=2,"
        " open_batch_size=4, max_execution_batch_size=6)"
    )


def test_a_request_that_was_given_up_is_not_run():
    waiting = queue()
    late, patient = task(1), task(2)
    put_all(waiting, [late, patient])
    late.expire()
    assert drained(waiting) == [[(patient, 0, 2)]]
    with pytest.raises(StatusError, match="timeout exceeded") as caught:
        late.outputs()
    assert caught.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
