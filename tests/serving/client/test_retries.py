from itertools import repeat

import grpc
import pytest

from serving.client.retries import LONGEST_DELAY_SECONDS, is_too_large, is_transient, retry


class Refusal(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        super().__init__(details)
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


AWAY = Refusal(grpc.StatusCode.UNAVAILABLE)
TOO_LARGE = Refusal(
    grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (9 vs. 4)"
)


def test_only_absence_stopping_and_overload_are_worth_another_try():
    transient = {code for code in grpc.StatusCode if is_transient(Refusal(code))}
    assert transient == {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
    }
    assert is_too_large(TOO_LARGE)
    assert not is_transient(TOO_LARGE)


def failing(times: int, error: grpc.RpcError = AWAY):
    left = repeat(error, times)

    def call() -> str:
        for failure in left:
            raise failure
        return "answer"

    return call


def test_it_waits_longer_each_time_up_to_a_limit():
    waits: list[float] = []
    assert (
        retry(failing(9), lambda _, since: since + 60.0, lambda _, wait: waits.append(wait))
        == "answer"
    )
    assert len(waits) == 9
    for index, wait in enumerate(waits):
        whole = min(0.1 * 2**index, LONGEST_DELAY_SECONDS)
        assert whole / 2 <= wait <= whole


def test_waits_differ_between_clients():
    assert len({round(first_wait(), 9) for _ in range(20)}) > 1


def first_wait() -> float:
    waits: list[float] = []
    retry(failing(1), lambda _, since: since + 60.0, lambda _, wait: waits.append(wait))
    return waits[0]


@pytest.mark.parametrize("error", [TOO_LARGE, Refusal(grpc.StatusCode.INVALID_ARGUMENT)])
def test_what_cannot_pass_is_not_tried_again(error: Refusal):
    waits: list[float] = []
    with pytest.raises(Refusal):
        retry(
            failing(1, error),
            lambda _, since: since + 60.0,
            lambda _, wait: waits.append(wait),
        )
    assert not waits


def test_patience_ends():
    with pytest.raises(Refusal):
        retry(failing(10**9), lambda _, started: started + 0.3)
