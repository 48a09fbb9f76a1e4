import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus.retries import Policy, retry


@given(st.integers(0, 12), st.integers(1, 8) | st.none())
def test_what_may_pass_is_tried_so_often_and_no_more(failures, tries):
    asked, waited = 0, []

    def ask() -> int:
        nonlocal asked
        asked += 1
        if asked <= failures:
            raise EOFError
        return asked

    def answer() -> int:
        return retry(
            ask,
            lambda error: isinstance(error, EOFError),
            Policy(tries),
            lambda _, seconds: waited.append(seconds),
        )

    if tries is None or failures < tries:
        assert answer() == failures + 1
    else:
        with pytest.raises(EOFError):
            answer()
    assert asked == (failures + 1 if tries is None else min(failures + 1, tries))
    assert len(waited) == asked - 1
    for number, seconds in enumerate(waited):
        whole = min(0.1 * 2**number, 4.0)
        assert whole / 2 <= seconds <= whole


def test_what_will_not_pass_is_tried_once():
    def refuse(_: Exception, seconds: float) -> None:
        raise AssertionError(seconds)

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        retry(fail, lambda error: isinstance(error, EOFError), Policy(), refuse)


def test_waits_stay_finite_however_long_something_fails():
    assert Policy().wait_seconds(10**6) <= 4.0
