"""Small models, as SavedModels, and the server that serves them, for each test that wants one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest


@pytest.fixture(scope="session")
def half_plus(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """`half_plus(3)`: a SavedModel of `y = x / 2 + 3`, with a signature that has a default."""
    import tensorflow as tf

    vector = tf.TensorSpec([None, 1], tf.float32, name="x")
    made: dict[int, Path] = {}

    class HalfPlus(tf.Module):
        def __init__(self, offset: int) -> None:
            self.offset = tf.Variable(float(offset))

        @tf.function(input_signature=[vector])
        def half_plus(self, x: Any) -> Any:
            return {"y": 0.5 * x + self.offset}

        @tf.function(input_signature=[vector, tf.TensorSpec([], tf.float32, name="z")])
        def two_inputs(self, x: Any, z: Any) -> Any:
            return {"sum": x + z, "product": x * z}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def shout(self, text: Any) -> Any:
            return {"shouted": tf.strings.upper(text), "shouted_bytes": tf.strings.upper(text)}

    def make(offset: int) -> Path:
        if offset not in made:
            module = HalfPlus(offset)
            folder = tmp_path_factory.mktemp("half_plus") / "model"
            signatures = {
                "serving_default": module.half_plus,
                "two_inputs": module.two_inputs,
                "shout": module.shout,
            }
            tf.saved_model.save(module, str(folder), signatures)
            made[offset] = folder
        return made[offset]

    return make


@pytest.fixture(scope="session")
def labeller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with the signatures that linnaeus exports; an "image" is a number as text."""
    import tensorflow as tf

    class Labeller(tf.Module):
        def __init__(self) -> None:
            self.names = tf.constant(["no", "maybe", "großes Ja"])

        def answer(self, score: Any) -> dict[str, Any]:
            logits = score[:, None] * tf.constant([[-1.0, 0.1, 1.0]])
            top = tf.math.top_k(tf.nn.softmax(logits), 3)
            labels = tf.gather(self.names, top.indices)
            return {
                "label": labels[:, 0],
                "confidence": top.values[:, 0],
                "scores": tf.nn.softmax(logits),
                "top_labels": labels,
                "top_scores": top.values,
            }

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="embedding")])
        def embedding(self, embedding: Any) -> dict[str, Any]:
            weights = tf.ones([4, 1])
            return self.answer(tf.matmul(embedding, weights)[:, 0])

        @tf.function(input_signature=[tf.TensorSpec([None, 2, 2, 3], tf.uint8, name="pixels")])
        def pixels(self, pixels: Any) -> dict[str, Any]:
            return self.answer(tf.reduce_mean(tf.cast(pixels, tf.float32), [1, 2, 3]) - 127.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def image_bytes(self, image_bytes: Any) -> dict[str, Any]:
            return self.answer(tf.strings.to_number(image_bytes))

    module = Labeller()
    folder = tmp_path_factory.mktemp("labeller") / "model"
    signatures = {
        "serving_default": module.image_bytes,
        "embedding": module.embedding,
        "pixels": module.pixels,
    }
    tf.saved_model.save(module, str(folder), signatures)
    return folder


def publish(source: Path, base: Path, version: int | str) -> Path:
    """Make a version appear at once, as a publisher does."""
    staging = base / f".staging-{version}"
    shutil.copytree(source, staging)
    return staging.rename(base / str(version))


@pytest.fixture(name="publish")
def publish_fixture() -> Callable[[Path, Path, int | str], Path]:
    return publish


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    """`serve({"m": folder}, ...)`: a started EmbeddedServer, stopped after the test."""
    from serving.server import EmbeddedServer

    servers = []

    def start(models: dict[str, Path], port: int = 0, rest_api_port: int | None = None) -> Any:
        uris = {name: str(path) for name, path in models.items()}
        server = EmbeddedServer(uris, port, rest_api_port, poll_wait_seconds=0.05)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop(grace_seconds=1)


@pytest.fixture(scope="module")
def half_plus_two(
    half_plus: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A server of model `m` whose only version is 123, over gRPC and REST."""
    from serving.server import EmbeddedServer

    base = tmp_path_factory.mktemp("m")
    publish(half_plus(2), base, "00000123")
    with EmbeddedServer({"m": str(base)}, rest_api_port=0) as server:
        yield server


@pytest.fixture
def channel(half_plus_two: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(half_plus_two.address) as channel:
        yield channel
