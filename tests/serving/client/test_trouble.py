"""Troubles one after another, and answers that are none."""

import threading
import time
from typing import Any

import grpc
import pytest

from linnaeus.errors import ServingError
from serving.client import ScoringClient, channels, retries
from serving.client.read_ahead import READY
from serving.protocol import wire
from tests.serving.client.silence import relaying
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


@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN", "ABORTED", "DATA_LOSS"])
def test_a_fault_of_the_server_ends_nothing_and_always_the_same_ends_soon(
    code: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.001)
    calls = 0

    def broken_now_and_then(request: Any, context: grpc.ServicerContext) -> Any:
        nonlocal calls
        calls += 1
        if calls % 4 or calls > 8:
            context.abort(grpc.StatusCode[code], "something broke")
        return answer(request)

    rows = [(1, b"x")]
    with serving(broken_now_and_then) as address, ScoringClient(address) as client:
        for _ in range(2):
            assert len(list(client.score("m", 7, BYTES, rows))) == 1
        with pytest.raises(ServingError, match=f"failed: {code}: something broke; see its log"):
            list(client.score("m", 7, BYTES, rows))
    assert calls == 8 + 5


def test_the_largest_batch_of_a_server_is_learned():
    refused: list[int] = []

    def of_five_rows(request: Any, context: grpc.ServicerContext) -> Any:
        rows = request.inputs["image_bytes"].tensor_shape.dim[0].size
        if rows > 5:
            refused.append(rows)
            words = f"Task size {rows} is larger than maximum input batch size 5"
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, words)
        return answer(request)

    rows = [(number, b"x") for number in range(400)]
    with (
        serving(of_five_rows) as address,
        ScoringClient(address, in_flight=1, batch_rows=40) as client,
    ):
        for _ in range(2):
            scored = dict(client.score("m", 7, BYTES, rows))
            assert {outcome.label for outcome in scored.values()} == {"cat"}  # type: ignore[union-attr]
    assert len(refused) <= 1 + READY  # what was on its way when the first one was refused


def test_calls_leave_a_connection_that_went_silent():
    rows = [(number, b"x") for number in range(60)]
    with (
        serving(lambda request, _: answer(request)) as address,
        relaying(address) as (relayed, relay),
        ScoringClient(relayed, channels=3, batch_rows=1, in_flight=2, deadline_seconds=1) as client,
    ):
        assert len(list(client.score("m", 7, BYTES, rows))) == 60
        relay.silent = {0}
        assert len(list(client.score("m", 7, BYTES, rows))) == 60


def test_a_silent_connection_is_noticed_long_before_the_deadline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(channels, "PING_AFTER_MSEC", 200)
    monkeypatch.setattr(channels, "PONG_WITHIN_MSEC", 200)
    with (
        serving(lambda request, _: answer(request)) as address,
        relaying(address) as (relayed, relay),
        ScoringClient(relayed, channels=1) as client,
    ):
        assert len(list(client.score("m", 7, BYTES, [(1, b"x")]))) == 1
        relay.silent = {0}
        started = time.monotonic()
        assert len(list(client.score("m", 7, BYTES, [(1, b"x")]))) == 1
        assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"version": 8}, "answered with version 8 of 'm'"),
        ({"version": 7, "name": "n"}, "answered with version 7 of 'n'"),
    ],
)
def test_the_answer_of_another_model_is_none(spec: dict[str, Any], words: str):
    def of_another(request: Any, _: grpc.ServicerContext) -> Any:
        response = answer(request, spec["version"])
        response.model_spec.name = spec.get("name", "m")
        return response

    with (
        serving(of_another) as address,
        ScoringClient(address) as client,
        pytest.raises(ServingError, match=words),
    ):
        list(client.score("m", 7, BYTES, [(1, b"x")]))


def test_a_status_of_another_version_than_was_asked_for_is_none():
    def status(request: Any, _: grpc.ServicerContext) -> Any:
        response = wire.GetModelStatusResponse()
        response.model_version_status.add(version=9, state=wire.STATE_AVAILABLE)
        return response

    with (
        serving(lambda request, _: answer(request), status) as address,
        ScoringClient(address) as client,
    ):
        assert client.resolve_version("m") == 9
        with pytest.raises(ServingError, match="does not serve version 7 of model m"):
            client.resolve_version("m", 7)
