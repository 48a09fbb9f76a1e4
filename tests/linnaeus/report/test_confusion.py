"""The confusion matrix as it is shown, small and large."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from linnaeus.report.confusion import CELLS, PAIRS, confusion


def test_a_small_matrix_has_every_cell_with_its_share_of_the_row():
    found = confusion(["a", "b"], [[3, 1], [0, 0]])
    assert found.fits_a_table
    assert [(label, [(c.images, c.share) for c in cells]) for label, cells in found.rows] == [
        ("a", [(3, 0.75), (1, 0.25)]),
        ("b", [(0, 0.0), (0, 0.0)]),
    ]


def test_what_is_confused_most_comes_first():
    found = confusion(["a", "b", "c"], [[9, 2, 0], [5, 9, 0], [0, 2, 2]])
    assert [(pair.row, pair.column, pair.images) for pair in found.pairs] == [
        (1, 0, 5),
        (2, 1, 2),
        (0, 1, 2),
    ]


@settings(max_examples=15, deadline=None)
@given(arrays(np.int64, st.tuples(st.just(40), st.just(40)), elements=st.integers(0, 3)))
def test_a_large_matrix_has_the_cells_that_are_not_empty(counts):
    found = confusion([str(n) for n in range(40)], counts.tolist())
    rows, columns = np.nonzero(counts)
    assert not found.fits_a_table
    assert [(c.row, c.column) for c in found.cells] == list(zip(rows, columns, strict=True))
    assert len(found.pairs) <= PAIRS


def test_a_huge_matrix_keeps_its_fullest_cells():
    counts = np.ones((100, 100), int) + 7 * np.eye(100, dtype=int)
    found = confusion([str(n) for n in range(100)], counts.tolist())
    assert len(found.cells) == CELLS
    assert sum(cell.row == cell.column for cell in found.cells) == 100
    assert found.cell_units * 100 <= 1_000
