from itertools import count, islice, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.client.batches import batches

rows = st.lists(st.binary(max_size=9)).map(lambda values: list(enumerate(values)))


@given(rows, st.integers(1, 5), st.integers(1, 12))
def test_batches_keep_every_row_in_order_within_both_limits(
    rows: list[tuple[int, bytes]], max_rows: int, max_bytes: int
):
    cut = list(batches(rows, max_rows, max_bytes))
    assert [row for batch in cut for row in batch] == rows
    for batch in cut:
        assert 1 <= len(batch) <= max_rows
        assert len(batch) == 1 or sum(len(value) for _, value in batch) <= max_bytes


@given(rows, st.integers(1, 5), st.integers(1, 12))
def test_a_batch_ends_only_where_the_next_row_does_not_fit(
    rows: list[tuple[int, bytes]], max_rows: int, max_bytes: int
):
    cut = list(batches(rows, max_rows, max_bytes))
    for batch, following in pairwise(cut):
        together = [value for _, value in [*batch, following[0]]]
        assert len(together) > max_rows or sum(map(len, together)) > max_bytes


def test_rows_are_read_no_further_than_one_batch_and_a_row():
    read = count()
    rows = ((next(read), np.zeros(4, "float32")) for _ in iter(int, 1))
    list(islice(batches(rows, 3, 1 << 20), 2))
    assert next(read) == 7
