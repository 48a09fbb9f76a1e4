from pathlib import Path

import numpy as np
import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.training.drop_in.architectures import INCEPTION, backbone, named

HUB = "https://tfhub.dev/google/imagenet/mobilenet_v1"


@pytest.mark.parametrize(
    ("name", "handle"),
    [
        ("inception_v3", INCEPTION),
        ("mobilenet_1.0_224", f"{HUB}_100_224/feature_vector/5"),
        ("mobilenet_0.75_192", f"{HUB}_075_192/feature_vector/5"),
        ("mobilenet_0.50_160", f"{HUB}_050_160/feature_vector/5"),
        ("MobileNet_0.25_128", f"{HUB}_025_128/feature_vector/5"),
        ("mobilenet_0.50_128_quantized", f"{HUB}_050_128/quantops/feature_vector/3"),
    ],
)
def test_an_architecture_is_a_module_of_hub_where_its_graph_is_not_there(
    name: str, handle: str, tmp_path: Path
):
    assert backbone(name, str(tmp_path)) == handle


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_1.0", "mobilenet_1.0_225", "mobilenet_2_224"])
def test_an_unknown_architecture_says_which_there_are(name: str):
    with pytest.raises(ConfigurationError, match="inception_v3, or mobilenet_"):
        named(name)


def write_graph(path: Path, name: str) -> None:
    """A network with the layers that the tutorial's had: the mean of its input, and twice that."""
    import tensorflow as tf

    architecture = named(name)
    given, bottleneck = (tensor.removesuffix(":0") for tensor in _layers(name))
    with tf.Graph().as_default() as graph:
        shape = [None, architecture.size, architecture.size, 3]
        image = tf.compat.v1.placeholder(tf.float32, shape, name=given)
        kept = "pool_3" in bottleneck
        means = tf.reduce_mean(image, [1, 2], keepdims=kept)
        tf.concat([means, 2 * means], axis=-1, name=bottleneck)
    path.parent.mkdir(parents=True)
    path.write_bytes(graph.as_graph_def().SerializeToString())


def _layers(name: str) -> tuple[str, str]:
    return named(name).input, named(name).bottleneck


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inception_v3", "mobilenet_0.25_128_quantized"])
def test_the_tutorials_own_graph_is_taken_where_it_is_there(name: str, tmp_path: Path):
    from linnaeus import backbones, preparation
    from linnaeus.engines import open_engine
    from linnaeus.storage import Folder

    write_graph(tmp_path / "models" / named(name).graph, name)
    found = backbone(name, str(tmp_path / "models"))
    assert Path(found).is_relative_to(tmp_path / "models")
    assert backbone(name, str(tmp_path / "models")) == found

    workspace = Folder(str(tmp_path / "workspace"))
    spec = preparation.prepare(workspace, found)
    size = named(name).size
    assert (spec.height, spec.width, spec.embedding_size) == (size, size, 6)
    pixels = np.random.default_rng(1).integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    engine = open_engine(backbones.local_files(workspace, spec.fingerprint), spec)
    embeddings = engine.embed(pixels)
    engine.close()
    middle = 128.0 if name == "inception_v3" else 127.5
    means = (pixels.mean(axis=(1, 2)) - middle) / middle
    assert np.allclose(embeddings, np.concatenate([means, 2 * means], axis=1), atol=1e-4)
