import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.training.evaluation.reliability import BINS, reliability

CASES = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 1), st.integers(0, BINS).map(lambda edge: edge / BINS)),
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


@settings(deadline=None)
@given(CASES)
def test_bins_and_error_equal_the_definition(cases: list[tuple[float, bool]]) -> None:
    confidences, right = (np.array(column) for column in zip(*cases, strict=True))
    found = reliability(confidences, right)
    edges = np.linspace(0, 1, BINS + 1)
    error = 0.0
    for i, one in enumerate(found.bins):
        inside = [(c, r) for c, r in cases if edges[i] < c <= edges[i + 1] or (i == 0 and c == 0)]
        assert one.count == len(inside)
        if inside:
            confidence, accuracy = np.mean(inside, axis=0)
            assert (one.confidence, one.accuracy) == pytest.approx((confidence, accuracy))
            error += len(inside) / len(cases) * abs(confidence - accuracy)
    assert found.error == pytest.approx(error, abs=1e-12)
    assert sum(one.count for one in found.bins) == len(cases)


def test_scores_that_are_as_high_as_they_are_often_right_have_no_error() -> None:
    confidences = np.repeat(0.75, 400)
    assert reliability(confidences, np.arange(400) % 4 > 0).error == pytest.approx(0)
    assert reliability(confidences, np.arange(400) % 4 == 0).error == pytest.approx(0.5)
