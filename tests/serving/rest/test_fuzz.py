"""JSON that was never meant, and bytes that are no JSON, on every call."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.mutations import mutated

pytestmark = pytest.mark.slow

FUZZED = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PREDICT = "/v1/models/m:predict"
CLASSIFY = "/v1/models/default:classify"
REGRESS = "/v1/models/default:regress"
GOOD = {
    PREDICT: {"signature_name": "two_inputs", "instances": [{"x": [1.5], "z": 2}]},
    CLASSIFY: {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]},
    REGRESS: {"signature_name": "regress_x_to_y", "context": {"x": 1.0}, "examples": [{}]},
}
KEYS = st.sampled_from(["x", "z", "b64", "text", "inputs", "ä"]) | st.text(max_size=2)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.just(10**400)
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["", "YQ==", "?", "serving_default", "two_inputs", "shout"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(["signature_name", "instances", "inputs", "examples", "context"]),
    VALUES | st.sampled_from(["two_inputs", "shout", "regress_x_to_y", "classify_x2_to_y3"]),
    min_size=1,
)


def check(send: Any, path: str, body: bytes) -> None:
    """The code is one that stock gives, and a good request is answered afterwards."""
    answer = send("POST", path, body)
    assert answer.status in {200, 400}, answer.body
    if answer.status != 200:
        assert list(answer.json) == ["error"]
    assert send("POST", path, json.dumps(GOOD[path])).status == 200


@pytest.mark.parametrize("path", GOOD)
def test_any_json_is_answered_or_refused_and_harms_nobody(send: Any, path: str):
    @FUZZED
    @given(DOCUMENTS | VALUES)
    def fuzz(document: Any) -> None:
        check(send, path, json.dumps(document).encode())

    fuzz()


@pytest.mark.parametrize("path", GOOD)
def test_any_bytes_are_answered_or_refused_and_harm_nobody(send: Any, path: str):
    @FUZZED
    @given(mutated([json.dumps(GOOD[path]).encode()]) | st.binary(max_size=30))
    def fuzz(body: bytes) -> None:
        check(send, path, body)

    fuzz()


def test_any_path_is_answered_or_not_found_and_harms_nobody(send: Any):
    parts = st.sampled_from(
        [
            "/v1",
            "/models",
            "/m",
            "/versions/1",
            "/labels/a",
            "/metadata",
            ":predict",
            "%",
            "?",
            "/",
            "%ff",
        ]
    )

    @FUZZED
    @given(st.sampled_from(["GET", "POST"]), st.lists(parts, max_size=6).map("".join))
    def fuzz(method: str, path: str) -> None:
        answer = send(method, f"/v1/{path}", b"{}" if method == "POST" else None)
        assert answer.status in {200, 400, 404}

    fuzz()
    assert send("POST", PREDICT, json.dumps(GOOD[PREDICT])).status == 200
