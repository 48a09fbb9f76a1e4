"""Servers of the public tests' model, and of one whose signatures are all odd."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.serving.public_models import signature, write_half_plus_two, write_signatures


@pytest.fixture(scope="module")
def public_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Models `default`, version 123, of the public tests, and `odd`, version 1."""
    from serving.server import EmbeddedServer

    folder = tmp_path_factory.mktemp("public")
    write_half_plus_two(folder / "half_plus_two" / "00000123")
    write_odd(folder / "odd" / "1")
    models = {"default": str(folder / "half_plus_two"), "odd": str(folder / "odd")}
    with EmbeddedServer(models, rest_api_port=0) as server:
        yield server


@pytest.fixture
def public_stub(public_server: Any) -> Iterator[Any]:
    """TensorFlow Serving's own PredictionService stub."""
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(public_server.address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def write_odd(folder: Path) -> Path:
    """Signatures that cannot, or do not, classify or regress."""
    import tensorflow as tf

    def lengths_of(texts: Any) -> Any:
        return tf.cast(tf.strings.length(texts), tf.float32)

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], name="examples")
        others = v1.placeholder(tf.string, [None], name="others")
        lengths = lengths_of(examples)
        pairs = tf.stack([lengths, -lengths], axis=1)
        names = tf.stack([examples, tf.strings.upper(examples)], axis=1)
        broken = tf.debugging.assert_less(lengths, 0.0, message="lengths are never negative")
        with tf.control_dependencies([broken]):
            failing = tf.identity(pairs)
        inputs = {"inputs": examples}
        signatures = {
            "both": signature("classify", inputs, {"classes": names, "scores": pairs}),
            "classes": signature("classify", inputs, {"classes": names, "other": pairs}),
            "named_predict": signature("predict", inputs, {"scores": pairs}),
            "two_inputs": signature(
                "classify", {"inputs": examples, "b": others}, {"scores": pairs}
            ),
            "no_inputs": signature("classify", {"x": examples}, {"scores": pairs}),
            "no_outputs": signature("classify", inputs, {}),
            "other_outputs": signature("classify", inputs, {"other": pairs}),
            "flat_scores": signature("classify", inputs, {"scores": lengths}),
            "text_scores": signature("classify", inputs, {"scores": names}),
            "number_classes": signature("classify", inputs, {"classes": pairs}),
            "few_scores": signature("classify", inputs, {"scores": pairs[:1]}),
            "few_classes": signature("classify", inputs, {"classes": names[:1]}),
            "unlike": signature("classify", inputs, {"classes": names[:, :1], "scores": pairs}),
            "failing": signature("classify", inputs, {"scores": failing}),
            "wide": signature("regress", inputs, {"outputs": pairs}),
            "few": signature("regress", inputs, {"outputs": lengths[:1]}),
            "text": signature("regress", inputs, {"outputs": tf.identity(examples)}),
            "flat": signature("regress", inputs, {"outputs": lengths}),
            "other": signature("regress", {"inputs": others}, {"outputs": -lengths_of(others)}),
            "unnamed": signature("regress", inputs, {"y": lengths}),
            "scalars": signature(
                "predict", {"x": examples}, {"text": examples[0], "length": lengths[0]}
            ),
        }
        return write_signatures(folder, session, signatures)
