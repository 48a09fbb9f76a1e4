"""Predict over REST, as TensorFlow Serving's `util/json_tensor.cc` reads and writes it."""

import base64
import json
import math
from typing import Any

import grpc
import pytest

from serving.protocol import wire

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/m:predict"
TYPES = "/v1/models/types:predict"


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
        ({"signature_name": "", "instances": [2.0], "other": None}, {"predictions": [3.0]}),
    ],
)
def test_rows_give_predictions_and_columns_give_outputs(ask: Any, body: Any, answer: Any):
    for path in (PREDICT, "/v1/models/m/versions/123:predict", "/V1/MODELS/m/VERSIONS/123:predict"):
        assert ask(path, body) == (200, answer)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"instances": [1.0, 2.0, 5.0]},
            '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}',
        ),
        (
            {"instances": [[1.0], [2.0]]},
            '{\n    "predictions": [[2.5], [3.0]\n    ]\n}',
        ),
        (
            {"inputs": [[1.0], [2.0]]},
            '{\n    "outputs": [\n        [\n            2.5\n        ],\n'
            "        [\n            3.0\n        ]\n    ]\n}",
        ),
        ({"inputs": 1.0}, '{\n    "outputs": 2.5\n}'),
        (
            {"signature_name": "two_inputs", "instances": [{"x": [1.0], "z": 2}]},
            '{\n    "predictions": [\n        {\n            "product": [2.0],\n'
            '            "sum": [3.0]\n        }\n    ]\n}',
        ),
        (
            {"signature_name": "two_inputs", "inputs": {"x": [1.0], "z": 2}},
            '{\n    "outputs": {\n        "product": [\n            2.0\n        ],\n'
            '        "sum": [\n            3.0\n        ]\n    }\n}',
        ),
    ],
)
def test_an_answer_is_laid_out_as_the_stock_server_lays_it_out(send: Any, body: Any, text: str):
    answer = send("POST", PREDICT, json.dumps(body))
    assert answer.body.decode() == text
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(text)


def test_a_byte_order_mark_is_passed_over(send: Any):
    assert send("POST", PREDICT, b'\xef\xbb\xbf{"instances": [2.0]}').json == {"predictions": [3.0]}


def test_base64_is_bytes_and_an_output_named_so_is_base64(ask: Any):
    text = {"b64": base64.b64encode(b"ab\xff").decode()}
    shouted = {"b64": base64.b64encode(b"AB\xff").decode()}
    body = {"signature_name": "shout", "instances": [text, "ä€"]}
    status, answer = ask(PREDICT, body)
    assert status == 200
    assert answer["predictions"][0] == {"shouted": "AB\ufffd", "shouted_bytes": shouted}
    assert answer["predictions"][1]["shouted"] == "ä€"


@pytest.mark.parametrize("written", ["YWI=", "YWI", " Y W\nI = "])
def test_base64_may_lack_padding_and_have_spaces(ask: Any, written: str):
    body = {"signature_name": "bytes", "inputs": {"b64": written}}
    assert ask(TYPES, body) == (200, {"outputs": {"b64": "YWI="}})


def test_bytes_stand_deeper_than_what_holds_them(send: Any):
    body = json.dumps({"signature_name": "bytes", "instances": [["a"]]})
    assert send("POST", TYPES, body).body.decode() == (
        '{\n    "predictions": [[{\n                "b64": "YQ=="\n            }]\n    ]\n}'
    )


def test_infinities_and_nan_pass(send: Any):
    answer = send("POST", PREDICT, '{"instances": [[Infinity], [-Infinity], [NaN]]}')
    assert answer.status == 200
    assert b"[[Infinity], [-Infinity], [NaN]" in answer.body


@pytest.mark.parametrize(
    ("dtype", "values", "text"),
    [
        ("float32", "[0.1, 1e6, 1234567, 0.00001, -0.0, 16777215]", None),
        ("float32", "[0.1, 0.123456789, 3]", "[0.1, 0.123456791, 3.0"),
        ("float32", "[9000000.0, 0.00003, 1234567.0]", "[9e+06, 3e-05, 1234567.0"),
        ("float32", "[3.4e38, 1e-45]", "[3.4e+38, 1.4013e-45"),
        ("float64", "[0.1, 0.12345678901234567, 1e300]", "[0.1, 0.12345678901234566, 1e+300"),
        ("int8", "[-128, 127]", "[-128, 127"),
        ("int16", "[-32768, 32767]", "[-32768, 32767"),
        ("int32", "[-2147483648, 2147483647]", "[-2147483648, 2147483647"),
        ("int64", "[-9223372036854775808, 9223372036854775807]", None),
        ("uint8", "[0, 255]", "[0, 255"),
        ("uint8", "[256, -1]", "[0, 255"),
        ("uint32", "[0, 4294967295]", "[0, 4294967295"),
        ("uint64", "[0, 18446744073709551615]", "[0, 18446744073709551615"),
        ("bool", "[true, false]", "[true, false"),
        ("string", '["\\ud83d\\ude00"]', '["😀"'),
        ("string", '["a", "\\u00e4\\"\\n"]', '["a", "ä\\"\\n"'),
    ],
)
def test_values_of_each_type_come_back_as_the_stock_server_writes_them(
    send: Any, dtype: str, values: str, text: str | None
):
    body = f'{{"signature_name": "{dtype}", "instances": {values}}}'
    answer = send("POST", TYPES, body)
    assert answer.status == 200
    if text is None:
        assert answer.json["predictions"] == json.loads(values)
    else:
        assert answer.body.decode() == f'{{\n    "predictions": {text}\n    ]\n}}'


def test_half_precision_is_written_though_not_read(ask: Any):
    assert ask(TYPES, {"signature_name": "half", "instances": [0.5, 1]}) == (
        200,
        {"predictions": [0.5, 1.0]},
    )


@pytest.mark.parametrize(("values", "shape"), [("[[], []]", [[], []]), ("[]", [])])
def test_columns_may_be_empty(ask: Any, values: str, shape: Any):
    body = f'{{"signature_name": "float32", "inputs": {values}}}'
    assert ask(TYPES, body) == (200, {"outputs": shape})


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "float16", "bfloat16", "complex64", "string"]
)
def test_columns_of_any_type_may_be_empty(ask: Any, dtype: str):
    assert ask(TYPES, {"signature_name": dtype, "inputs": []}) == (200, {"outputs": []})


def test_columns_of_one_output_may_be_a_scalar(ask: Any):
    assert ask(TYPES, {"signature_name": "scalar", "inputs": [1, 2]}) == (200, {"outputs": 3.0})


ELEMENT = "Failed to process element: "
ERROR = " of 'instances' list. Error: INVALID_ARGUMENT: "


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "JSON Parse error: The document is empty"),
        (" ", "JSON Parse error: The document is empty. at offset: 1"),
        ("[1]", "JSON Value: [1] Is not object"),
        ("1.5", "JSON Value: 1.5 Is not object"),
        ("NaN", "JSON Value: NaN Is not object"),
        ("{}", "Missing 'inputs' or 'instances' key"),
        (
            '{"signature_name": 5}',
            'JSON Value: {\n    "signature_name": 5\n} not formatted correctly.'
            " 'signature_name' key must be a string value.",
        ),
        (
            '{"signature_name": "X", "instances": 1}',
            'Serving signature name: "X" not found in signature def',
        ),
        (
            '{"instances": [1], "inputs": 1}',
            'JSON Value: {\n    "instances": [1],\n    "inputs": 1\n}'
            " Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        (
            '{"instances": 1}',
            "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array",
        ),
        (
            '{"instances": []}',
            "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
        ),
        (
            '{"signature_name": "two_inputs", "instances": [1]}',
            "instances is a plain list, but expecting list of objects as multiple input tensors"
            " required as per tensorinfo_map",
        ),
        (
            '{"signature_name": "two_texts", "instances": [{"b64": "YQ=="}]}',
            "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}."
            " Missing but required: {b}.",
        ),
        (
            '{"signature_name": "two_inputs", "instances": [{"b64": "YQ=="}]}',
            f'{ELEMENT}0{ERROR}JSON Value: {{\n    "b64": "YQ=="\n}} Type: Object is not of'
            " expected type: float",
        ),
        (
            '{"signature_name": "two_inputs", "inputs": [1]}',
            "inputs is a plain value/list, but expecting an object as multiple input tensors"
            " required as per tensorinfo_map",
        ),
        ('{"inputs": {"w": 1}}', "Missing named input: x in 'inputs' object."),
        (
            '{"instances": [{"w": 1}]}',
            f"{ELEMENT}0 key: w{ERROR}JSON object: does not have named input: w",
        ),
        (
            '{"signature_name": "two_inputs", "instances": [{"x": [1]}]}',
            f"{ELEMENT}0 of 'instances' list. JSON object: {{\n    \"x\": [1]\n}}"
            " keys must be equal to: x,z",
        ),
        (
            '{"instances": [{"x": 1}, [1]]}',
            "Expecting object but got list at item 1 of input list",
        ),
        (
            '{"instances": [1, {"x": 1}]}',
            "Expecting value/list but got object at item 1 of input list",
        ),
        ('{"instances": [1, [1, 2]]}', f"{ELEMENT}1{ERROR}Expecting tensor size: 1 but got: 2"),
        ('{"instances": [1, [1]]}', f"{ELEMENT}1{ERROR}Expecting shape [] but got: [1]"),
        (
            '{"instances": [[[1, 2]], [[1], [2]]]}',
            f"{ELEMENT}1{ERROR}Expecting shape [1,2] but got: [2,1]",
        ),
        (
            '{"instances": [[1], [[1], 2]]}',
            f"{ELEMENT}1{ERROR}JSON Value: 2 found at incorrect level: 2 in the JSON DOM."
            " Expected at level: 2",
        ),
        (
            '{"inputs": [[1], [2, 3]]}',
            "Encountered list at unexpected size: 2 at level: 1 expected size: 1",
        ),
        ('{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
        (
            '{"instances": ["one"]}',
            f'{ELEMENT}0{ERROR}JSON Value: "one" Type: String is not of expected type: float',
        ),
        (
            '{"inputs": [1, true]}',
            "JSON Value: true Type: True is not of expected type: float",
        ),
        (
            '{"inputs": [1.5, null]}',
            "JSON Value: null Type: Null is not of expected type: float",
        ),
        (
            '{"inputs": [{"a": 1}]}',
            'JSON Value: {\n    "a": 1\n} Type: Object is not of expected type: float',
        ),
        (
            '{"inputs": [0.5, "' + "e" * 1000 + '"]}',
            f'JSON Value: "{"e" * 256}" Type: String is not of expected type: float',
        ),
        (
            '{"inputs": [1, {"a": [1e300, 1e16, 1e-5, 1e-7, [], {}]}]}',
            'JSON Value: {\n    "a": [1e300, 10000000000000000.0, 0.00001, 1e-7, [], {}]\n}'
            " Type: Object is not of expected type: float",
        ),
        (
            '{"signature_name": "shout", "inputs": {"text": [{"b64": "?"}]}}',
            "Unable to base64 decode",
        ),
        (
            '{"signature_name": "shout", "instances": [{"b64": "?"}]}',
            f"{ELEMENT}0{ERROR}Unable to base64 decode",
        ),
        (
            '{"signature_name": "shout", "inputs": {"text": [{"b64": 1}]}}',
            'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data',
        ),
        (
            '{"signature_name": "shout", "inputs": {"text": [1]}}',
            "JSON Value: 1 Type: Number is not of expected type: string",
        ),
    ],
)
def test_a_document_that_does_not_fit_is_refused_in_the_stock_servers_words(
    ask: Any, body: str, text: str
):
    path = TYPES if "two_texts" in body else PREDICT
    assert ask(path, body) == (400, {"error": text})


@pytest.mark.parametrize(
    ("body", "reason", "offset"),
    [
        ('{"instances": [1', "Missing a comma or ] after an array element.", 16),
        ('{"a": 1', "Missing a comma or } after an object member.", 7),
        ('{"a": [{"[": 2} 3]}', "Missing a comma or ] after an array element.", 16),
        ('{"a" 1}', "Missing a colon after a name of object member.", 5),
        ("{1: 2}", "Missing a name for object member.", 1),
        ('{"a": x}', "Invalid value.", 6),
        ('{"a": 1e400}', "Number too big to be stored in double.", 6),
        ('{"ä": "\\x"}', "Invalid escape character in string.", 8),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason_and_place(
    ask: Any, body: str, reason: str, offset: int
):
    status, answer = ask(PREDICT, body.encode().decode("latin-1"))
    assert (status, answer) == (400, {"error": f"JSON Parse error: {reason} at offset: {offset}"})


@pytest.mark.parametrize(
    "body", ['"\\ud800"', '{"instances": ["\\ud83d"]}', '{"instances": [' + "9" * 5000]
)
def test_documents_that_only_python_would_take_are_refused(ask: Any, body: str):
    status, answer = ask(PREDICT, body)
    assert status == 400
    assert answer["error"].startswith("JSON Parse error: ")


@pytest.mark.parametrize("rest", [" ", "\n}", " 2", "]]]", "\0", " {"])
def test_what_follows_the_document_counts_for_nothing(ask: Any, rest: str):
    assert ask(PREDICT, '{"instances": [2.0]}' + rest) == (200, {"predictions": [3.0]})


@pytest.mark.parametrize("depth", [5_000, 500_000])
def test_documents_are_nested_as_deeply_as_they_like(ask: Any, depth: int):
    deep = "[" * depth + "]" * depth
    body = f'{{"instances": [2.0], "nested": {deep}}}'
    assert ask(PREDICT, body) == (200, {"predictions": [3.0]})
    status, answer = ask(PREDICT, f'{{"signature_name": {deep}}}')
    assert status == 400
    assert answer["error"].endswith("'signature_name' key must be a string value.")
    status, answer = ask(PREDICT, f'{{"instances": [{deep}]}}')
    assert (status, answer["error"][:20]) == (400, "tensor parsing error")
    status, answer = ask(PREDICT, "[" * depth)
    assert (status, answer["error"][:16]) == (400, "JSON Parse error")


def test_numbers_that_lose_precision_are_taken(ask: Any):
    body = {"signature_name": "float32", "instances": [2**24 + 1, 2**64, 1e-300]}
    assert ask(TYPES, body) == (200, {"predictions": [16777216.0, 1.84467441e19, 0.0]})
    body = {"signature_name": "float32", "instances": [1e39, -3.5e38]}
    assert ask(TYPES, body) == (200, {"predictions": [math.inf, -math.inf]})
    body = {"signature_name": "float64", "instances": [2**53 + 1]}
    assert ask(TYPES, body) == (200, {"predictions": [2.0**53]})


def test_text_that_is_no_utf8_is_bytes_all_the_same(send: Any):
    raw = bytes(range(128, 256)) + "ä".encode()
    body = b'{"signature_name": "bytes", "instances": ["' + raw + b'", "\\u00e4"]} more'
    answer = send("POST", TYPES, body)
    assert answer.status == 200
    given = [base64.b64decode(each["b64"]) for each in answer.json["predictions"]]
    assert given == [raw, "ä".encode()]
    answer = send("POST", TYPES, b'{"signature_name": "\xff", "instances": ["\xff"]}')
    assert answer.status == 400
    answer = send("POST", TYPES, b'{"instances": ["\xff" 1]}')
    assert "Missing a comma or ] after an array element. at offset: 19" in answer.json["error"]


@pytest.mark.parametrize(
    "body",
    [
        f'{{"{"a" * 100_000}": 1}}',
        f'{{"instances": [{{"{"a" * 100_000}": 1}}]}}',
        f'{{"signature_name": "{"a" * 100_000}", "instances": [1]}}',
        '{"signature_name": 1, "instances": ' + "[" * 99 + "{}" + "]" * 99 + "}",
        json.dumps({"instances": 1, "more": [[0.5] * 100] * 1000}),
        json.dumps({"inputs": [[1], {str(i): i for i in range(10_000)}]}),
    ],
)
def test_a_refusal_is_short_whatever_it_refuses(send: Any, body: str):
    answer = send("POST", PREDICT, body)
    assert answer.status == 400
    assert len(answer.body) < 9_000


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("int32", "1.0", "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        (
            "int32",
            "2147483648",
            "JSON Value: 2147483648 Type: Number is not of expected type: int32",
        ),
        ("int64", "9223372036854775808", "is not of expected type: int64"),
        ("int8", "true", "JSON Value: true Type: True is not of expected type: int8"),
        ("uint32", "-1", "JSON Value: -1 Type: Number is not of expected type: uint32"),
        ("uint64", "-1", "JSON Value: -1 Type: Number is not of expected type: uint64"),
        ("bool", "1", "JSON Value: 1 Type: Number is not of expected type: bool"),
        ("string", "1", "JSON Value: 1 Type: Number is not of expected type: string"),
    ],
)
def test_numbers_outside_a_type_are_refused(ask: Any, dtype: str, value: str, text: str):
    body = f'{{"signature_name": "{dtype}", "inputs": [{value}]}}'
    status, answer = ask(TYPES, body)
    assert status == 400
    assert answer["error"].endswith(text)


@pytest.mark.parametrize("dtype", ["float16", "uint16", "complex64", "bfloat16"])
def test_a_type_that_json_has_not_is_unimplemented(ask: Any, dtype: str):
    name = {"float16": "half"}.get(dtype, dtype)
    text = f"Conversion of JSON Value: 1 to type: {name}"
    assert ask(TYPES, {"signature_name": dtype, "inputs": [1]}) == (501, {"error": text})
    status, answer = ask(TYPES, {"signature_name": dtype, "instances": [1]})
    assert status == 400
    assert answer["error"] == f"{ELEMENT}0 of 'instances' list. Error: UNIMPLEMENTED: {text}"


@pytest.mark.parametrize(
    ("signature_name", "text"),
    [
        ("complex", "Failed to write JSON value for tensor type: complex64"),
        ("scalar", "Tensor name: y has no shape information "),
        ("ragged", "Tensor name: b has inconsistent batch size: 5 expecting: 2"),
        ("no_inputs", "Failed to get input map for signature: no_inputs"),
        ("no_outputs", "Must specify at least one target to fetch or execute."),
    ],
)
def test_outputs_that_are_no_rows_are_refused(ask: Any, signature_name: str, text: str):
    body = {"signature_name": signature_name, "instances": [1.0, 2.0]}
    assert ask(TYPES, body) == (400, {"error": text})


@pytest.mark.parametrize(
    ("dtype", "number", "field", "sent", "returned"),
    [
        ("uint64", 23, "uint64_val", [2**63, 2**64 - 1], [2**63, 2**64 - 1]),
        ("uint32", 22, "uint32_val", [2**32 - 1], [2**32 - 1]),
        ("int8", 6, "int_val", [200, -129], [-56, 127]),
        ("uint8", 4, "int_val", [-1, 256], [255, 0]),
        ("int16", 5, "int_val", [2**16 + 1], [1]),
        ("uint16", 17, "int_val", [-1], [2**16 - 1]),
        ("float16", 19, "half_val", [0x3C00, 2**16], [0x3C00, 0]),
        ("bfloat16", 14, "half_val", [0x3F80, 0x7FC0], [0x3F80, 0x7FC0]),
        ("bool", 10, "bool_val", [True, False], [True, False]),
    ],
)
def test_typed_fields_over_grpc_go_in_and_come_out_as_tensorflow_takes_them(
    server: Any, dtype: str, number: int, field: str, sent: list[Any], returned: list[Any]
):
    request = wire.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "types", dtype
    request.inputs["x"].dtype = number
    request.inputs["x"].tensor_shape.dim.add(size=len(sent))
    getattr(request.inputs["x"], field).extend(sent)
    with grpc.insecure_channel(server.address) as channel:
        predict = channel.unary_unary(
            wire.PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )
        answer = predict(request, timeout=20).outputs["y"]
    assert (answer.dtype, list(getattr(answer, field))) == (number, returned)
