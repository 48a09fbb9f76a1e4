import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus.errors import FailureCode, StorageError, StoreUnavailable
from linnaeus.storage.retries import TOKENS, Budget


@given(st.lists(st.booleans(), max_size=200))
def test_a_store_is_down_when_requests_in_vain_outnumber_answers_by_the_tokens(answers):
    budget, tokens = Budget("s3://photos"), TOKENS
    for is_answer in answers:
        tokens = min(tokens + 1, TOKENS) if is_answer else max(tokens - 1, 0)
        if is_answer:
            budget.answered()
        elif tokens:
            budget.failed(StorageError("busy", FailureCode.THROTTLED))
        else:
            with pytest.raises(StoreUnavailable, match=r"s3://photos is down.*the last: busy"):
                budget.failed(StorageError("busy", FailureCode.THROTTLED))


@pytest.mark.parametrize("code", [FailureCode.NOT_FOUND, FailureCode.ACCESS_DENIED])
def test_a_refusal_is_an_answer(code):
    budget = Budget("s3://photos")
    for _ in range(10 * TOKENS):
        budget.failed(StorageError("no", code))
