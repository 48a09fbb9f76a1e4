"""Small networks with random weights, for every engine, and the vectors they have to give."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from linnaeus.backbones import BackboneSpec, local_files
from linnaeus.preparation import prepare
from linnaeus.preparation.conversion import convert
from linnaeus.process import import_openvino
from linnaeus.storage import Folder

HEIGHT, WIDTH, VALUES = 20, 28, 7
MEAN, SCALE = 127.0, 128.0


@dataclass(frozen=True)
class Prepared:
    """A backbone's folder, its spec, and pictures with the vectors computed without an engine."""

    files: Path
    spec: BackboneSpec
    pixels: NDArray[np.uint8]
    expected: NDArray[np.float32]


def a_spec(precision: str = "float32", values: int = VALUES) -> BackboneSpec:
    return BackboneSpec("small", "f" * 20, HEIGHT, WIDTH, values, precision, "", "")


def some_pixels(count: int, seed: int = 0) -> NDArray[np.uint8]:
    shape = (count, HEIGHT, WIDTH, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="session")
def convolution(tmp_path_factory) -> Prepared:
    """Normalise, convolve, ReLU6, mean: made by OpenVINO alone, with NumPy as its oracle."""
    files = tmp_path_factory.mktemp("convolution")
    kernel = np.random.default_rng(1).normal(0, 0.5, (VALUES, 3, 3, 3)).astype(np.float32)
    _save_convolution(kernel, files / "openvino" / "model.xml")
    pixels = some_pixels(40)
    return Prepared(files, a_spec(), pixels, _convolution(kernel, pixels))


def _save_convolution(kernel: NDArray[np.float32], to: Path) -> None:
    openvino = import_openvino()
    op = openvino.opset13
    pixels = op.parameter([-1, HEIGHT, WIDTH, 3], np.uint8, name="pixels")
    x = op.divide(op.subtract(op.convert(pixels, "f32"), np.float32(MEAN)), np.float32(SCALE))
    x = op.transpose(x, np.array([0, 3, 1, 2]))
    x = op.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    x = op.reduce_mean(op.clamp(x, 0.0, 6.0), np.array([2, 3]))
    to.parent.mkdir()
    openvino.save_model(openvino.Model([x], [pixels], "small"), str(to), compress_to_fp16=False)


def _convolution(kernel: NDArray[np.float32], pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    x = (pixels.astype(np.float64) - MEAN) / SCALE
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    x = np.einsum("nyxcij,ocij->nyxo", windows, kernel)
    return np.clip(x, 0, 6).mean(axis=(1, 2)).astype(np.float32)


@pytest.fixture(scope="session")
def mobile_network(tmp_path_factory) -> Prepared:
    """Separable convolutions with batch normalisation and ReLU6, random, for every engine.

    What it has to give comes from its layers, called on pixels that NumPy has normalised.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    files = tmp_path_factory.mktemp("mobile")
    network = _randomised(_separable_layers())
    module = tf.Module()
    module.network = network
    taken = tf.TensorSpec([None, HEIGHT, WIDTH, 3], tf.uint8, name="pixels")

    def embed(pixels):
        return {"embedding": network((tf.cast(pixels, tf.float32) - MEAN) / SCALE, training=False)}

    module.embed = tf.function(embed, input_signature=[taken])
    tf.saved_model.save(
        module, str(files / "tensorflow"), signatures={"serving_default": module.embed}
    )
    spec = a_spec(values=24)
    assert convert(files, spec) == {}
    pixels = some_pixels(19)
    expected = network((pixels.astype(np.float32) - MEAN) / SCALE, training=False).numpy()
    return Prepared(files, spec, pixels, expected)


def _separable_layers():
    from keras import Sequential, layers

    blocks = [layers.Input((HEIGHT, WIDTH, 3)), layers.Conv2D(8, 3, 2, "same", use_bias=False)]
    for channels in (12, 24):
        blocks += [
            layers.BatchNormalization(epsilon=1e-3),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, 1, "same", use_bias=False),
            layers.BatchNormalization(epsilon=1e-3),
            layers.ReLU(6.0),
            layers.Conv2D(channels, 1, use_bias=False),
        ]
    return Sequential([*blocks, layers.GlobalAveragePooling2D()])


def _randomised(network):
    """Weights and statistics as a trained network has them; fresh ones hide most mistakes."""
    random = np.random.default_rng(2)
    for variable in network.weights:
        value = random.normal(0.1, 0.4, variable.shape)
        positive = variable.name in {"gamma", "moving_variance"}
        variable.assign(np.abs(value) + 0.5 if positive else value)
    return network


@dataclass(frozen=True)
class InWorkspace:
    """A backbone as `prepare` leaves it, to be read alone."""

    workspace: Folder
    spec: BackboneSpec

    @property
    def files(self) -> Path:
        return local_files(self.workspace, self.spec.fingerprint)


def prepare_lite0(folder: Path) -> None:
    prepare(Folder(str(folder)), "efficientnet-lite0")


@pytest.fixture(scope="session")
def lite0(made_once) -> InWorkspace:
    """The real network at its full size."""
    workspace = Folder(str(made_once(prepare_lite0)))
    return InWorkspace(workspace, prepare(workspace, "efficientnet-lite0"))
