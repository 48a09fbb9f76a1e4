"""Troubles one after another, and answers that are none."""

import threading
import time
from typing import Any

import grpc
import pytest

from linnaeus.errors import ServingError
from serving.client import ScoringClient
from tests.serving.client.stand_in import Predict, answer, serving
from tests.serving.client.test_hardship import AWAY, BYTES, LATE

pytestmark = pytest.mark.slow


def test_the_wait_for_a_slot_uses_up_no_patience_with_a_server_that_is_away():
    calls, lock = 0, threading.Lock()

    def slow_then_away_once(request: Any, context: grpc.ServicerContext) -> Any:
        nonlocal calls
        with lock:
            calls += 1
            number = calls
        if number == 3:
            context.abort(*AWAY)
        time.sleep(0.4)
        return answer(request)

    rows = [(number, b"x") for number in range(3)]
    with (
        serving(slow_then_away_once) as address,
        ScoringClient(address, in_flight=1, batch_rows=1, deadline_seconds=0.6) as client,
    ):
        assert len(list(client.score("m", 7, BYTES, rows))) == 3


def test_a_missed_deadline_uses_up_no_patience_with_a_server_that_starts_anew():
    calls = 0

    def stuck_then_away_then_well(request: Any, context: grpc.ServicerContext) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            time.sleep(0.5)
            context.abort(*LATE)
        if calls == 2:
            context.abort(*AWAY)
        return answer(request)

    with (
        serving(stuck_then_away_then_well) as address,
        ScoringClient(address, deadline_seconds=0.3) as client,
    ):
        assert len(list(client.score("m", 7, BYTES, [(1, b"x")]))) == 1


def without(name: str) -> Predict:
    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        response = answer(request)
        del response.outputs[name]
        return response

    return predict


def unreadable(request: Any, context: grpc.ServicerContext) -> Any:
    response = answer(request)
    response.outputs["label"].dtype = 0
    return response


@pytest.mark.parametrize(
    ("predict", "words"),
    [
        (without("confidence"), "an answer came back without confidence"),
        (unreadable, "tensors of DataType 0 are not supported"),
    ],
)
def test_an_answer_that_is_no_answer_is_one_line(predict: Predict, words: str):
    with serving(predict) as address, ScoringClient(address) as client:
        with pytest.raises(ServingError, match=words) as caught:
            list(client.score("m", 7, BYTES, [(1, b"x")]))
        assert "\n" not in str(caught.value)
        with pytest.raises(ServingError, match=words):
            client.ask("m", 7, BYTES, [b"x"], ["label", "confidence"])
