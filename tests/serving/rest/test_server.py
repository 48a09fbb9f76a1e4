import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/m:predict"


@pytest.fixture
def connection(half_plus_two: Any) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", half_plus_two.rest_api_port, timeout=20)
    yield made
    made.close()


@pytest.fixture
def ask(connection: http.client.HTTPConnection) -> Any:
    def call(path: str, body: Any = None) -> tuple[int, Any]:
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        connection.request("GET" if data is None else "POST", path, data)
        response = connection.getresponse()
        assert response.getheader("Content-Type") == "application/json"
        return response.status, json.loads(response.read())

    return call


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [[1.0], [2]]}, {"predictions": [[2.5], [3.0]]}),
        ({"instances": [{"x": [1.0]}, {"x": [2]}]}, {"predictions": [[2.5], [3.0]]}),
        ({"instances": [0.2]}, {"predictions": [2.1]}),
        ({"inputs": [[0.2]]}, {"outputs": [[2.1]]}),
        ({"inputs": {"x": [[1.0], [2.0]]}}, {"outputs": [[2.5], [3.0]]}),
        (
            {"signature_name": "two_inputs", "inputs": {"x": [[1.0], [2.0]], "z": 3}},
            {"outputs": {"product": [[3.0], [6.0]], "sum": [[4.0], [5.0]]}},
        ),
        (
            {"signature_name": "two_inputs", "instances": [{"x": [1.0], "z": 2}]},
            {"predictions": [{"product": [2.0], "sum": [3.0]}]},
        ),
    ],
)
def test_rows_give_predictions_and_columns_give_outputs(ask: Any, body: Any, answer: Any):
    for path in (PREDICT, "/v1/models/m/versions/123:predict"):
        assert ask(path, body) == (200, answer)


def test_base64_is_bytes_and_an_output_named_so_is_base64(ask: Any):
    text = {"b64": base64.b64encode(b"ab\xff").decode()}
    shouted = {"b64": base64.b64encode(b"AB\xff").decode()}
    body = {"signature_name": "shout", "instances": [text, "ä€"]}
    status, answer = ask(PREDICT, body)
    assert status == 200
    assert answer["predictions"][0] == {"shouted": "AB\ufffd", "shouted_bytes": shouted}
    assert answer["predictions"][1]["shouted"] == "ä€"


def test_infinities_and_nan_pass(ask: Any):
    status, answer = ask(PREDICT, '{"instances": [[Infinity], [-Infinity], [NaN]]}')
    assert status == 200
    assert str(answer["predictions"]) == "[[inf], [-inf], [nan]]"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/v1/models/m:guess", "{}", 400, "Malformed request: POST /v1/models/m:guess"),
        ("/v1/models", None, 400, "Malformed request: GET /v1/models"),
        (PREDICT, None, 400, "Malformed request: GET /v1/models/m:predict"),
        ("/v2/models/m", None, 404, "Not Found"),
        (
            "/v1/models/other:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Latest(other)",
        ),
        (
            "/v1/models/m/versions/7:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Specific(m, 7)",
        ),
        (
            "/v1/models/m/labels/stable:predict",
            {"instances": [1]},
            400,
            "Unrecognized servable version label: stable",
        ),
        (
            PREDICT,
            {"signature_name": "X", "instances": [1]},
            400,
            'Serving signature name: "X" not found in signature def',
        ),
        (PREDICT, "", 400, "JSON Parse error: The document is empty"),
        (PREDICT, '{"instances": [1', 400, "JSON Parse error: "),
        (PREDICT, {}, 400, "Missing 'inputs' or 'instances' key"),
        (PREDICT, {"instances": []}, 400, "No values in 'instances' array"),
        (PREDICT, {"instances": [{"w": 1}]}, 400, "Failed to process element: 0"),
        (PREDICT, {"instances": [[1], [1, 2]]}, 400, "JSON Value: "),
        (PREDICT, {"instances": ["one"]}, 400, "JSON Value: ['one'] is not of expected type"),
        (PREDICT, {"instances": [True]}, 400, "JSON Value: [True] is not of expected type"),
        (PREDICT, {"instances": [1e300]}, 400, "Cannot convert JSON value"),
        (PREDICT, {"inputs": {"w": 1}}, 400, "Missing named input: x in 'inputs' object."),
        (
            PREDICT,
            {"signature_name": "shout", "inputs": {"text": [{"b64": "?"}]}},
            400,
            "Unable to base64 decode",
        ),
        ("/v1/models/m:classify", "{}", 501, "classify is not served here"),
        ("/v1/models/other", None, 404, "Could not find any versions of model other"),
        ("/v1/models/m/versions/7", None, 404, "Could not find version 7 of model m"),
    ],
)
def test_a_refusal_has_a_code_and_an_error_body(
    ask: Any, path: str, body: Any, status: int, text: str
):
    got, answer = ask(path, body)
    assert got == status
    assert list(answer) == ["error"]
    assert answer["error"].startswith(text)


def test_status_prints_default_fields_and_versions_as_strings(ask: Any):
    expected = {
        "model_version_status": [
            {
                "version": "123",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    for path in ("/v1/models/m", "/v1/models/m/versions/123", "/V1/Models/m?x=1"):
        assert ask(path) == (200, expected)
