"""Shapes that a signature does not take, some of which end TensorFlow's process, are refusals."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.protocol import tensors, wire
from tests.serving.public_models import signature, write_signatures

pytestmark = pytest.mark.slow

SECONDS = 30
SIZE = 8


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base path of a network's layers, whose kernels end the process on shapes like these."""
    import tensorflow as tf

    kernel = np.ones((3, 3, 3, 2), "float32")

    def layer(pixels: Any) -> Any:
        summed = tf.nn.conv2d(tf.cast(pixels, tf.float32), kernel, 1, "VALID")
        return tf.reduce_sum(tf.nn.relu(tf.nn.bias_add(summed, [0.5, 0.5])), [1, 2])

    class Network(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.uint8, "pixels")])
        def fixed(self, pixels: Any) -> dict[str, Any]:
            return {"y": layer(pixels)}

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, "pixels")])
        def any_size(self, pixels: Any) -> dict[str, Any]:
            return {"y": tf.reduce_max(tf.nn.max_pool2d(pixels, 3, 2, "VALID"), [1, 2])}

        @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "pixels")])
        def any_rank(self, pixels: Any) -> dict[str, Any]:
            return {"y": layer(pixels)}

    base = tmp_path_factory.mktemp("networks")
    module = Network()
    signatures = {
        "serving_default": module.fixed,
        "any_size": module.any_size,
        "any_rank": module.any_rank,
    }
    tf.saved_model.save(module, str(base / "1"), signatures)
    return base


@pytest.fixture(scope="module")
def untyped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base path of a TensorFlow 1 model whose input says nothing of its shape."""
    import tensorflow as tf

    base = tmp_path_factory.mktemp("untyped")
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, name="x")
        y = tf.nn.relu(tf.nn.conv2d(x, np.ones((1, 1, 3, 2), "float32"), 1, "SAME"))
        write_signatures(
            base / "1", session, {"serving_default": signature("predict", {"x": x}, {"y": y})}
        )
    return base


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "batched"])
def server(request: Any, networks: Path, untyped: Path) -> Iterator[Any]:
    from serving.batching.batched_model import BatchedModel
    from serving.batching.parameters import BatchingParameters
    from serving.models.catalog import CatalogOptions
    from serving.models.loading import LoadingOptions
    from serving.models.versions import VersionOptions
    from serving.server import EmbeddedServer, ServerOptions

    parameters = BatchingParameters(batch_timeout_micros=0)
    batching = {"wrap": lambda model: BatchedModel(model, parameters)} if request.param else {}
    versions = VersionOptions(loading=LoadingOptions(**batching))
    options = ServerOptions(catalog=CatalogOptions(versions=versions))
    models = {"m": str(networks), "untyped": str(untyped)}
    with EmbeddedServer(models, rest_api_port=0, options=options) as server:
        yield server


def predict(
    server: Any, array: Any, name: str = "", model: str = "m", alias: str = "pixels"
) -> Any:
    request = wire.PredictRequest(model_spec={"name": model, "signature_name": name})
    tensors.fill_content(request.inputs[alias], array)
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(
            wire.PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )
        return tensors.to_array(call(request, timeout=SECONDS).outputs["y"])


def refusal(server: Any, *arguments: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        predict(server, *arguments)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return str(caught.value.details())


SHAPES = [
    (),
    (3,),
    (1, 3),
    (SIZE, SIZE, 3),
    (1, 1, 1, 3),
    (1, SIZE, SIZE, 4),
    (1, SIZE, SIZE, 0),
    (0,),
    (1, 1, SIZE, SIZE, 3),
    (1,) * 30,
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_shape_that_the_signature_does_not_take_is_refused(server: Any, shape: tuple[int, ...]):
    text = refusal(server, np.zeros(shape, "uint8"))
    told = ",".join(map(str, shape))
    assert text == (
        f"signature serving_default input shape is wrong, expected : [?,{SIZE},{SIZE},3],"
        f" actual: [{told}]"
    )
    assert predict(server, np.zeros((2, SIZE, SIZE, 3), "uint8")).shape == (2, 2)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 2, 5, 3), (1, 0, 0, 3)], ids=str)
def test_a_size_that_the_graph_cannot_bear_is_refused_where_the_signature_takes_any(
    server: Any, shape: tuple[int, ...]
):
    assert "Negative dimension size" in refusal(server, np.zeros(shape, "float32"), "any_size")
    assert predict(server, np.ones((1, 5, 4, 3), "float32"), "any_size").tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("shape", [(), (3,), (1, 3), (SIZE, SIZE, 3)], ids=str)
def test_a_rank_that_the_graph_cannot_bear_is_refused_where_the_signature_takes_any(
    server: Any, shape: tuple[int, ...]
):
    array = np.zeros(shape, "float32")
    assert "must be" in refusal(server, array, "any_rank")
    assert "must be" in refusal(server, array, "", "untyped", "x")
    assert predict(server, np.zeros((1, 4, 4, 3), "float32"), "any_rank").tolist() == [[2, 2]]


@pytest.mark.parametrize(
    "body", [{"instances": [[[1, 2, 3]]]}, {"inputs": 1}, {"instances": [[[[1, 2, 3]]]]}]
)
def test_rest_refuses_wrong_shapes_in_the_same_words(server: Any, body: Any):
    url = f"http://{server.host}:{server.rest_api_port}/v1/models/m:predict"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, json.dumps(body).encode(), timeout=SECONDS)
    assert caught.value.code == 400
    assert "serving_default input shape is wrong, expected : " in json.load(caught.value)["error"]


def test_values_of_another_type_are_refused(server: Any):
    text = refusal(server, np.array([[b"a"]], object))
    assert text == "Expects arg[0] to be uint8 but string is provided"
