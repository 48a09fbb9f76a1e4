from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnaeus.backbones import Extent, Trainable
from linnaeus.backbones.families import parse
from linnaeus.backbones.families.efficientnet_lite import EfficientNetLite
from linnaeus.backbones.families.keras_graph import About, FeatureMaps, trainable
from linnaeus.errors import ConfigurationError

pytestmark = pytest.mark.slow

SIZE = 32
ABOUT = About("some", "graph-1", "none")


@pytest.fixture(scope="module")
def maps() -> FeatureMaps:
    """A network with a skip connection over two of its convolutions."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, 3))
    x = stem = layers.Conv2D(4, 3, 2, padding="same", name="stem")(image)
    x = layers.Conv2D(4, 3, padding="same", name="left")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(4, 3, padding="same", name="right")(x)
    x = added = layers.Add(name="add")([stem, x])
    x = layers.Conv2D(5, 3, 2, padding="same", name="last")(x)
    return FeatureMaps(image, (added,), layers.ReLU(name="relu")(x), lambda x: x / 255)


def without_middle(maps: FeatureMaps) -> FeatureMaps:
    return FeatureMaps(maps.image, (), maps.last, maps.normalise)


def pixels() -> Any:
    import tensorflow as tf

    return tf.constant(np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8))


@pytest.mark.parametrize("layers", [None, *range(9)])
@pytest.mark.parametrize("middle", [False, True])
def test_the_two_parts_together_are_the_network(maps: FeatureMaps, layers: Any, middle: bool):
    asked = maps if middle else without_middle(maps)
    split = trainable(asked, Extent(layers), ABOUT)
    expected = asked.pooled()(asked.normalised(pixels()), training=False)
    for training in (False, True):
        found = split.trained(split.frozen(pixels()), training)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert split.values == expected.shape[1]


@pytest.mark.parametrize(
    ("layers", "cut", "learned"),
    [
        (None, None, 10),  # kernels and biases of four convolutions, scale and offset
        (8, None, 10),
        (7, None, 10),
        (6, (16, 16, 4), 8),  # behind the stem, from which the skip connection starts
        (4, (16, 16, 4), 4),  # `norm` does not learn, but lies inside the skip connection
        (3, (16, 16, 4), 2),
        (2, (16, 16, 4), 2),
        (1, (8, 8, 5), 0),
        (0, (8, 8, 5), 0),
    ],
)
def test_it_is_cut_as_late_as_skip_connections_allow(
    maps: FeatureMaps, layers: int | None, cut: Any, learned: int
):
    split = trainable(without_middle(maps), Extent(layers), ABOUT)
    assert split.frozen_shape == cut
    assert len(split.learned) == len(split.changed) == learned


def test_what_a_middle_map_is_pooled_from_is_not_cut_away(maps: FeatureMaps):
    assert trainable(maps, Extent(2), ABOUT).frozen_shape == (16, 16, 4)


def test_flattened_it_gives_every_value_of_the_last_map(maps: FeatureMaps):
    split = trainable(without_middle(maps), Extent(2, flatten=True), ABOUT)
    assert split.values == 8 * 8 * 5
    with pytest.raises(ConfigurationError, match=r"flatten takes no \+mid"):
        trainable(maps, Extent(2, flatten=True), ABOUT)


def test_more_layers_than_there_are_name_both_numbers(maps: FeatureMaps):
    with pytest.raises(ConfigurationError, match="has 8 layers, not 9"):
        trainable(maps, Extent(9), ABOUT)


def test_training_leaves_the_statistics_of_batch_normalisation(maps: FeatureMaps):
    split = trainable(without_middle(maps), Extent(None), ABOUT)
    before = split.arrays()
    split.trained(split.frozen(pixels()), True)
    assert all(map(np.array_equal, split.arrays(), before))


def lite(layers: int, tmp_path: Path) -> tuple[Trainable, Any]:
    import tensorflow as tf

    network = EfficientNetLite(parse(f"efficientnet-lite0@{SIZE}"))
    network.save(tmp_path)
    loaded = tf.saved_model.load(str(tmp_path / "tensorflow"))
    return network.trainable(Extent(layers)), loaded.signatures["serving_default"]


def test_a_trainable_network_embeds_as_the_prepared_one(tmp_path: Path):
    split, prepared = lite(20, tmp_path)
    expected = prepared(pixels=pixels())["embedding"]
    np.testing.assert_allclose(split.embed(pixels()), expected, rtol=1e-4, atol=1e-5)
    assert split.frozen_shape is not None
    assert split.graph == "efficientnet-lite-1"
