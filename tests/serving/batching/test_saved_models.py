"""A SavedModel behind batching, asked as a server asks it."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from serving.batching.batched_model import BatchedModel
from serving.batching.parameters import BatchingParameters
from serving.grpc_status import StatusError
from serving.protocol import tensors

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(half_plus):
    from serving.models.saved_models import SavedModel

    parameters = BatchingParameters(
        max_batch_size=8, batch_timeout_micros=20_000, allowed_batch_sizes=(4, 8)
    )
    return BatchedModel(SavedModel(half_plus(2)), parameters)


def ask(model, inputs, signature="serving_default", outputs=()):
    from tensorflow_serving.apis import predict_pb2

    from serving.inference.predict import answer

    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = "m"
    request.model_spec.signature_name = signature
    for alias, array in inputs.items():
        tensors.fill_content(request.inputs[alias], array)
    response = answer(model, request)
    return {alias: tensors.to_array(tensor) for alias, tensor in response.outputs.items()}


def test_every_client_gets_its_own_rows(model):
    xs = [np.full((1 + number % 3, 1), number, "float32") for number in range(40)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda x: ask(model, {"x": x})["y"], xs))
    for x, y in zip(xs, answers, strict=True):
        np.testing.assert_array_equal(y, x / 2 + 2)


def test_strings_and_output_filters_are_batched_too(model):
    texts = [np.array([f"number {number}".encode(), None], object)[:1] for number in range(12)]
    outputs = [["shouted"], ["shouted_bytes"], ["shouted_bytes", "shouted"]]
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda i: ask(model, {"text": texts[i]}, "shout", outputs[i % 3]), range(12))
        )
    for number, answer in enumerate(answers):
        assert set(answer) == set(outputs[number % 3])
        assert all(value.tolist() == [b"NUMBER %d" % number] for value in answer.values())


def test_a_wrong_type_fails_alone(model):
    xs = [np.ones((1, 1), dtype) for dtype in ("float32", "float64", "float32")]

    def outcome(x):
        try:
            return ask(model, {"x": x})["y"].tolist()
        except StatusError as error:
            return error.code

    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(outcome, xs))
    assert outcomes == [[[2.5]], grpc.StatusCode.INVALID_ARGUMENT, [[2.5]]]


def test_a_signature_with_a_scalar_input_cannot_be_batched(model):
    inputs = {"x": np.ones((2, 1), "float32"), "z": np.float32(3).reshape(())}
    with pytest.raises(StatusError, match="must have at least one dimension"):
        ask(model, inputs, "two_inputs")


def test_an_output_without_rows_is_a_refusal_even_if_it_is_one_text(tmp_path):
    import tensorflow as tf

    from serving.models.saved_models import SavedModel

    class Named(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def name(self, x):
            return {"y": x, "name": tf.constant(b"one")}

    module = Named()
    tf.saved_model.save(module, str(tmp_path), module.name)
    model = BatchedModel(SavedModel(tmp_path), BatchingParameters())
    with pytest.raises(StatusError, match="Batched output tensor has 0 dimensions") as refused:
        ask(model, {"x": np.ones(2, "float32")})
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert ask(model, {"x": np.ones(2, "float32")}, outputs=["y"])["y"].tolist() == [1, 1]
