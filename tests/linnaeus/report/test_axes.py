"""Charts mark round values that lie where the scale says."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from linnaeus.report.axes import Axis, round_step


def test_ends_of_the_scale_lie_at_its_ends():
    axis = Axis(2.0, 6.0, 100.0, 20.0)
    assert (axis.at(2.0), axis.at(4.0), axis.at(6.0)) == (100.0, 60.0, 20.0)


def test_marks_are_round_values_in_words():
    assert [mark.text for mark in Axis(0.07, 1.03, 0, 100).marks()] == [
        "0.2",
        "0.4",
        "0.6",
        "0.8",
        "1",
    ]


def test_a_single_value_is_marked_in_the_middle():
    [mark] = Axis(3.0, 3.0, 0.0, 10.0).marks()
    assert (mark.at, mark.text) == (5.0, "3")


@settings(deadline=None)
@given(st.floats(1e-6, 1e6))
def test_steps_are_the_next_round_ones(least: float):
    step = round_step(least)
    assert least * (1 - 1e-6) <= step < 2.6 * least
    assert float(f"{step:.0e}") == pytest.approx(step)
    assert f"{step:.0e}"[0] in "125"


@settings(deadline=None)
@example(1.0, 400001.0, 2)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_marks_are_few_and_within_the_scale(low: float, extent: float, most: int):
    axis = Axis(low, low + extent, 0.0, 300.0)
    places = [mark.at for mark in axis.marks(most)]
    assert 1 <= len(places) <= most + 1
    assert all(-0.1 <= place <= 300.1 for place in places)
    assert places == sorted(places)
