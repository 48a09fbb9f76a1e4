"""Classify and regress over REST, with examples and a context."""

from typing import Any

import pytest

pytestmark = pytest.mark.slow

CLASSIFY = "/v1/models/default:classify"
REGRESS = "/v1/models/default:regress"


def test_classify_answers_pairs_of_label_and_score(send: Any):
    body = '{"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}, {"x": [0.2]}]}'
    answer = send("POST", CLASSIFY, body)
    assert answer.status == 200
    assert answer.body.decode() == '{\n    "results": [[["", 3.0]], [["", 2.1]]\n    ]\n}'


def test_regress_answers_values(send: Any):
    body = '{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}, {"x": [0.2]}]}'
    answer = send("POST", REGRESS, body)
    assert answer.status == 200
    assert answer.body.decode() == '{\n    "results": [3.0, 2.1]\n}'


def test_a_context_stands_before_every_example(ask: Any):
    body = {
        "signature_name": "regress_x_to_y",
        "context": {"x": 2.0},
        "examples": [{}, {"x": 4.0}],
    }
    assert ask(REGRESS, body) == (200, {"results": [3.0, 4.0]})


def test_a_missing_feature_has_the_graphs_default(ask: Any):
    body = {"signature_name": "regress_examples_x2_to_y3", "examples": [{"x": 1.0}]}
    assert ask(REGRESS, body) == (200, {"results": [3.0]})


@pytest.mark.parametrize(
    ("examples", "text"),
    [
        ('"examples": [1]', "Example must be JSON object but got JSON Number"),
        ('"examples": [null]', "Example must be JSON object but got JSON Null"),
        ('"context": [], "examples": [{}]', "Example must be JSON object but got JSON Array"),
        ('"examples": [{"x": null}]', "Feature: x has element with unexpected JSON type: Null"),
        ('"examples": [{"x": [[1]]}]', "Feature: x has element with unexpected JSON type: Array"),
        (
            '"examples": [{"x": {"y": 1}}]',
            "Feature: x has element with unexpected JSON type: Object",
        ),
        (
            '"examples": [{"x": [1.0, 2]}]',
            "Unexpected element type in feature: x expecting type: float",
        ),
        (
            '"examples": [{"x": ["a", 2]}]',
            "Unexpected element type in feature: x expecting type: bytes",
        ),
        (
            '"examples": [{"x": [1, "a"]}]',
            "Unexpected element type in feature: x expecting type: int64",
        ),
        (
            '"examples": [{"x": [1, 2.5]}]',
            "Unexpected element type in feature: x expecting type: int64",
        ),
        (
            '"examples": [{"x": 9223372036854775808}]',
            "Feature: x has uint64_t element. Only int64_t is supported.",
        ),
        ('"examples": [{"x": {"b64": "?"}}]', "Unable to base64 decode"),
    ],
)
def test_examples_that_cannot_be_are_refused(ask: Any, examples: str, text: str):
    for path in (CLASSIFY, REGRESS):
        assert ask(path, f"{{{examples}}}") == (400, {"error": text})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            '{"instances": 1}',
            "JSON Value: {\n    \"instances\": 1\n} When method is classify, key 'examples' is"
            " expected and was not found",
        ),
        (
            '{"examples": 1}',
            "JSON Value: {\n    \"examples\": 1\n} Expecting 'examples' value to be an list/array",
        ),
        (
            '{"examples": []}',
            "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
        ),
        ('{"signature_name": "X", "examples": [{}]}', "No signature was found with the name: X"),
        ('{"signature_name": 1, "examples": [{}]}', "JSON Value: {"),
    ],
)
def test_documents_without_examples_are_refused(ask: Any, body: str, text: str):
    status, answer = ask(CLASSIFY, body)
    assert status == 400
    assert answer["error"].startswith(text)


def test_texts_and_numbers_become_features_of_their_kind(ask: Any):
    # The graph wants floats, and its refusal names what came.
    for value, kind in (
        ("a", "string"),
        (2, "int64"),
        (True, "int64"),
        ({"b64": "YQ=="}, "string"),
    ):
        body = {"signature_name": "regress_x_to_y", "examples": [{"x": value}]}
        status, answer = ask(REGRESS, body)
        assert status == 400
        assert f"Data type: {kind} but expected type: float" in answer["error"]


def test_numbers_of_any_size_are_features(ask: Any):
    for number in ("1e39", "2" * 30, "-" + "2" * 30, "NaN"):
        body = f'{{"signature_name": "regress_x_to_y", "examples": [{{"x": {number}}}]}}'
        assert ask(REGRESS, body)[0] == 200
        # Bytes that are no UTF-8 are parsed in another way.
        assert ask(REGRESS, body.replace("regress_x_to_y", "\xff"))[0] == 400
