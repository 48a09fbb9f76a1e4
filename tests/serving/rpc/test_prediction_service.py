"""TensorFlow Serving's own stubs against the embedded server, over a socket."""

from typing import Any

import grpc
import numpy as np
import pytest

pytestmark = pytest.mark.slow

INVALID = grpc.StatusCode.INVALID_ARGUMENT
SECONDS = 20


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def tensor(values: Any, dtype: str = "float32") -> Any:
    import tensorflow as tf

    return tf.make_tensor_proto(np.array(values, dtype))


def request(inputs: dict[str, Any] | None = None, *output_filter: str, **spec: Any) -> Any:
    from tensorflow_serving.apis import predict_pb2

    inputs = {"x": tensor([[1.0]])} if inputs is None else inputs
    made = predict_pb2.PredictRequest(inputs=inputs, output_filter=output_filter)
    version = spec.pop("version", None)
    for field, value in {"name": "m", **spec}.items():
        setattr(made.model_spec, field, value)
    if version is not None:
        made.model_spec.version.value = version
    return made


def refusal(call: Any, message: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=SECONDS)
    return caught.value.code(), caught.value.details()


def test_the_answer_names_model_signature_and_version_and_fills_typed_values(stub: Any):
    response = stub.Predict(request({"x": tensor([[1.0], [2.0]])}), timeout=SECONDS)
    assert response.model_spec.name == "m"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 123
    assert response.model_spec.WhichOneof("version_choice") == "version"
    assert list(response.outputs["y"].float_val) == [2.5, 3.0]
    assert response.outputs["y"].tensor_content == b""
    assert [dim.size for dim in response.outputs["y"].tensor_shape.dim] == [2, 1]


def test_a_version_and_a_signature_can_be_named(stub: Any):
    inputs = {"x": tensor([[2.0]]), "z": tensor(3.0)}
    message = request(inputs, "product", version=123, signature_name="two_inputs")
    response = stub.Predict(message, timeout=SECONDS)
    assert {name: list(t.float_val) for name, t in response.outputs.items()} == {"product": [6.0]}
    assert response.model_spec.signature_name == "two_inputs"


def test_shapes_are_as_loose_as_the_graph(stub: Any):
    response = stub.Predict(request({"x": tensor([1.0, 2.0, 4.0])}), timeout=SECONDS)
    assert list(response.outputs["y"].float_val) == [2.5, 3.0, 4.0]


def test_strings_come_back_as_bytes(stub: Any):
    import tensorflow as tf

    inputs = {"text": tf.make_tensor_proto([b"ab", b"c\xff"])}
    response = stub.Predict(request(inputs, signature_name="shout"), timeout=SECONDS)
    assert list(response.outputs["shouted"].string_val) == [b"AB", b"C\xff"]


def without_spec() -> Any:
    from tensorflow_serving.apis import predict_pb2

    return predict_pb2.PredictRequest()


@pytest.mark.parametrize(
    ("make", "code", "text"),
    [
        (without_spec, INVALID, "Missing ModelSpec"),
        (lambda: request(name=""), INVALID, "ModelSpec has no name specified."),
        (
            lambda: request(version_label="stable"),
            INVALID,
            "Unrecognized servable version label: stable",
        ),
        (
            lambda: request(name="other"),
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Latest(other)",
        ),
        (
            lambda: request(version=7),
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Specific(m, 7)",
        ),
        (
            lambda: request(signature_name="X"),
            grpc.StatusCode.FAILED_PRECONDITION,
            'Serving signature key "X" not found.',
        ),
        (
            lambda: request({}),
            INVALID,
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}."
            " Missing but required: {x}.",
        ),
        (
            lambda: request({"b": tensor(1.0), "a": tensor(1.0)}),
            INVALID,
            "input size does not match signature: 2!=1 len({a,b}) != len({x})."
            " Sent extra: {a,b}. Missing but required: {x}.",
        ),
        (
            lambda: request({"w": tensor(1.0)}),
            INVALID,
            "Signature input alias: x(feed name: serving_default_x:0) not found in request and no"
            " default value provided. Inputs expected to be in the request {w}, or default input"
            " alias set: ",
        ),
        (
            lambda: request({"x": {"dtype": 1, "tensor_content": b"12345"}}),
            INVALID,
            "tensor parsing error: x",
        ),
        (lambda: request({"x": {"dtype": 0}}), INVALID, "tensor parsing error: x"),
        (
            lambda: request(None, "z"),
            INVALID,
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ),
        (lambda: request(None, "y", "y"), INVALID, "duplicate output tensor alias: y"),
    ],
)
def test_a_refusal_has_the_stock_servers_code_and_text(
    stub: Any, make: Any, code: grpc.StatusCode, text: str
):
    assert refusal(stub.Predict, make()) == (code, text)


def test_a_wrong_type_is_refused(stub: Any):
    code, text = refusal(stub.Predict, request({"x": tensor([[1]], "int32")}))
    assert code == INVALID
    assert text == "Expects arg[0] to be float but int32 is provided"


def test_a_long_refusal_is_cut_at_1024_bytes(stub: Any):
    _, text = refusal(stub.Predict, request(signature_name="ö" * 2000))
    assert text.startswith('Serving signature key "öö')
    assert text.endswith("ö...TRUNCATED")
    assert 1022 <= len(text.removesuffix("...TRUNCATED").encode()) <= 1024


def test_requests_and_answers_above_grpcs_default_limit_pass(half_plus_two: Any):
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    rows = np.ones([2_000_000, 1], "float32")
    unlimited = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(half_plus_two.address, unlimited) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request({"x": tensor(rows)}), timeout=SECONDS)
    assert len(response.outputs["y"].float_val) == len(rows)


def metadata_request(*fields: str, name: str | None = "m") -> Any:
    from tensorflow_serving.apis import get_model_metadata_pb2

    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name is not None:
        message.model_spec.name = name
    return message


def test_metadata_is_every_signature_as_saved(stub: Any, half_plus: Any):
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2

    response = stub.GetModelMetadata(metadata_request("signature_def"), timeout=SECONDS)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    saved = saved_model_pb2.SavedModel.FromString((half_plus(2) / "saved_model.pb").read_bytes())
    assert dict(signatures.signature_def) == dict(saved.meta_graphs[0].signature_def)
    assert {"serving_default", "two_inputs", "shout"} <= set(signatures.signature_def)
    assert (response.model_spec.name, response.model_spec.version.value) == ("m", 123)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (lambda: metadata_request(name=None), "Missing ModelSpec"),
        (
            metadata_request,
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (lambda: metadata_request("graph"), "Metadata field %s is not supportedgraph"),
    ],
)
def test_a_wrong_metadata_request_is_refused(stub: Any, message: Any, text: str):
    assert refusal(stub.GetModelMetadata, message()) == (INVALID, text)


@pytest.mark.parametrize(
    "call", ["SessionService/SessionRun", "PredictionService/PredictStreamed", "Nothing/AtAll"]
)
def test_what_the_stock_server_does_not_register_is_unimplemented(channel: grpc.Channel, call: str):
    method = channel.unary_unary(f"/tensorflow.serving.{call}")
    assert refusal(method, b"")[0] == grpc.StatusCode.UNIMPLEMENTED
