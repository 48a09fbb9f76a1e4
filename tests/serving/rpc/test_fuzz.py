"""Bytes that are no requests, and requests that were mutated, on every method."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.mutations import mutated

pytestmark = pytest.mark.slow

SECONDS = 10
FUZZED = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
}


def examples() -> Any:
    from tensorflow_serving.apis import input_pb2

    made = input_pb2.Input()
    listed = made.example_list_with_context
    listed.context.features.feature["x"].float_list.value.append(2.0)
    listed.examples.add().features.feature["x2"].float_list.value.append(1.0)
    return made


def requests() -> dict[str, Any]:
    """Method -> a message that is answered."""
    import tensorflow as tf
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        predict_pb2,
        regression_pb2,
    )

    spec = {"name": "default", "version": {"value": 123}}
    classify = {**spec, "signature_name": "classify_x_to_y"}
    regress = {**spec, "signature_name": "regress_x_to_y"}
    task = {"model_spec": regress, "method_name": "tensorflow/serving/regress"}
    inputs = {"x": tf.make_tensor_proto([1.0, 2.0])}
    service = "/tensorflow.serving.PredictionService/"
    return {
        f"{service}Predict": predict_pb2.PredictRequest(
            model_spec=spec, inputs=inputs, output_filter=["y"]
        ),
        f"{service}Classify": classification_pb2.ClassificationRequest(
            model_spec=classify, input=examples()
        ),
        f"{service}Regress": regression_pb2.RegressionRequest(model_spec=regress, input=examples()),
        f"{service}MultiInference": inference_pb2.MultiInferenceRequest(
            tasks=[task], input=examples()
        ),
        f"{service}GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=["signature_def"]
        ),
        "/tensorflow.serving.ModelService/GetModelStatus": (
            get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        ),
    }


METHODS = [
    *(
        f"/tensorflow.serving.PredictionService/{name}"
        for name in ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata")
    ),
    "/tensorflow.serving.ModelService/GetModelStatus",
]


@pytest.fixture(scope="module")
def channel(public_server: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(public_server.address) as channel:
        yield channel


def check(channel: grpc.Channel, method: str, good: Any, data: bytes) -> None:
    """The code is one that stock gives, and a good request is answered afterwards."""
    call = channel.unary_unary(method)
    try:
        call(data, timeout=SECONDS)
    except grpc.RpcError as error:
        # The library itself refuses bytes that are no message.
        allowed = REFUSALS if parses(good, data) else {grpc.StatusCode.INTERNAL}
        assert error.code() in allowed, error.details()
        assert "Traceback" not in error.details()
    call(good.SerializeToString(), timeout=SECONDS)


def parses(good: Any, data: bytes) -> bool:
    from google.protobuf.message import DecodeError

    try:
        type(good).FromString(data)
    except DecodeError:
        return False
    return True


@pytest.mark.parametrize("method", METHODS)
def test_random_bytes_are_refused_and_harm_nobody(channel: grpc.Channel, method: str):
    good = requests()[method]

    @FUZZED
    @given(st.binary(max_size=100))
    def fuzz(data: bytes) -> None:
        check(channel, method, good, data)

    fuzz()


@pytest.mark.parametrize("method", METHODS)
def test_mutated_requests_are_answered_or_refused_and_harm_nobody(
    channel: grpc.Channel, method: str
):
    good = requests()[method]

    @FUZZED
    @given(mutated([good.SerializeToString()]))
    def fuzz(data: bytes) -> None:
        check(channel, method, good, data)

    fuzz()


@pytest.mark.parametrize("sizes", [[2**62], [2**40, 2**40], [2**31, 8], [2**24, 2], [-1]])
def test_a_small_tensor_of_a_vast_shape_is_refused(public_stub: Any, sizes: list[int]):
    from tensorflow_serving.apis import predict_pb2

    message = predict_pb2.PredictRequest(model_spec={"name": "default"})
    message.inputs["x"].dtype = 1
    message.inputs["x"].float_val.append(1.0)
    for size in sizes:
        message.inputs["x"].tensor_shape.dim.add(size=size)
    with pytest.raises(grpc.RpcError) as caught:
        public_stub.Predict(message, timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "tensor parsing error: x"
