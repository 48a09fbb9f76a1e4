"""Calls that are answered otherwise than by default, because the server was told so."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.serving.public_models import signature, write_signatures

pytestmark = pytest.mark.slow

SECONDS = 20
INVALID = grpc.StatusCode.INVALID_ARGUMENT
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def write_model(folder: Path) -> Path:
    """The same numbers, saved for each call and for none."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        texts = v1.placeholder(tf.string, [None], name="texts")
        x = v1.placeholder(tf.float32, name="x")
        lengths = tf.cast(tf.strings.length(texts), tf.float32)[:, None]
        examples = {"inputs": texts}
        outputs = {"half": x / 2, "whole": tf.cast(x, tf.int64), "text": tf.strings.as_string(x)}
        signatures = {
            "serving_default": signature("predict", {"x": x}, outputs),
            "classify": signature("classify", examples, {"scores": lengths}),
            "regress": signature("regress", examples, {"outputs": lengths}),
            "classify_saved_to_predict": signature("predict", examples, {"scores": lengths}),
            "regress_saved_to_predict": signature("predict", examples, {"outputs": lengths}),
            "saved_for_nothing": signature("dream", {"x": x}, {"y": x + 1.0}),
        }
        return write_signatures(folder, session, signatures)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Model `m`, under both options."""
    from serving.inference.options import InferenceOptions
    from serving.server import EmbeddedServer, ServerOptions

    base = tmp_path_factory.mktemp("m")
    write_model(base / "1")
    options = InferenceOptions(
        enable_signature_method_name_check=True, enable_serialization_as_tensor_content=True
    )
    server = EmbeddedServer(
        {"m": str(base)}, rest_api_port=0, options=ServerOptions(inference=options)
    )
    with server:
        yield server


@pytest.fixture
def stub(server: Any) -> Iterator[Any]:
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(server.address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def prediction(signature_name: str) -> Any:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest(inputs={"x": tf.make_tensor_proto([1.0, 3.0])})
    request.model_spec.name, request.model_spec.signature_name = "m", signature_name
    return request


def of_examples(message: Any, signature_name: str = "") -> Any:
    message.input.example_list.examples.add().features.feature["x"].float_list.value.append(1.0)
    if signature_name:
        message.model_spec.name, message.model_spec.signature_name = "m", signature_name
    return message


def refusal(call: Any, message: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=SECONDS)
    return caught.value.code(), caught.value.details()


def test_numbers_come_as_raw_bytes_and_strings_as_values(stub: Any):
    import tensorflow as tf

    outputs = stub.Predict(prediction(""), timeout=SECONDS).outputs
    assert outputs["half"].tensor_content == np.array([0.5, 1.5], "<f4").tobytes()
    assert outputs["whole"].tensor_content == np.array([1, 3], "<i8").tobytes()
    assert not outputs["half"].float_val
    assert not outputs["whole"].int64_val
    # TensorFlow in Python reads strings from values alone.
    assert tf.make_ndarray(outputs["text"]).tolist() == [b"1.000000", b"3.000000"]


def test_a_signature_that_was_saved_for_no_call_is_refused(stub: Any, server: Any):
    text = (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict,"
        " tensorflow/serving/classify, tensorflow/serving/regress}."
        " Was: tensorflow/serving/dream"
    )
    expected = (grpc.StatusCode.INTERNAL, text)
    assert refusal(stub.Predict, prediction("saved_for_nothing")) == expected
    body = json.dumps({"signature_name": "saved_for_nothing", "instances": [1.0]}).encode()
    url = f"http://127.0.0.1:{server.rest_api_port}/v1/models/m:predict"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, body, timeout=SECONDS)
    with caught.value as answer:
        assert (answer.code, json.load(answer)) == (500, {"error": text})


def test_a_signature_answers_the_call_that_it_was_saved_for(stub: Any):
    from tensorflow_serving.apis import classification_pb2, regression_pb2

    classification = of_examples(classification_pb2.ClassificationRequest(), "classify")
    assert len(stub.Classify(classification, timeout=SECONDS).result.classifications) == 1
    regression = of_examples(regression_pb2.RegressionRequest(), "regress")
    assert len(stub.Regress(regression, timeout=SECONDS).result.regressions) == 1


def test_a_signature_that_was_saved_for_another_call_is_refused(stub: Any):
    from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

    was = "Was: tensorflow/serving/predict"
    no_classify = (
        INVALID,
        f"Expected classification signature method_name to be {CLASSIFY}. {was}",
    )
    no_regress = (INVALID, f"Expected regression signature method_name to be {REGRESS}. {was}")
    classification = classification_pb2.ClassificationRequest()
    of_examples(classification, "classify_saved_to_predict")
    assert refusal(stub.Classify, classification) == no_classify
    regression = of_examples(regression_pb2.RegressionRequest(), "regress_saved_to_predict")
    assert refusal(stub.Regress, regression) == no_regress
    several = of_examples(inference_pb2.MultiInferenceRequest())
    spec = {"name": "m", "signature_name": "classify_saved_to_predict"}
    several.tasks.add(model_spec=spec, method_name=CLASSIFY)
    assert refusal(stub.MultiInference, several) == no_classify
