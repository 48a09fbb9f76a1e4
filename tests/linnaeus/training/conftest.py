"""A small network with random weights, and a model exported on top of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from linnaeus.backbones import BackboneSpec
from linnaeus.training.heads.head import Dense, Head

LABELS = ("a b", "c/d", "größe", "plain", "日本", "ü")
HEIGHT, WIDTH, SIZE = 48, 64, 24


@dataclass(frozen=True)
class Prepared:
    """A backbone as the workspace would hold it."""

    files: Path
    spec: BackboneSpec


@dataclass(frozen=True)
class Exported:
    """An exported model, and what it was made of."""

    folder: Path
    head: Head
    prepared: Prepared


@pytest.fixture(scope="session")
def small_backbone(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    import openvino
    import tensorflow as tf

    from linnaeus.backbones.families import saved_model

    rng = np.random.default_rng(5)
    first = tf.Variable(rng.normal(0, 0.3, (5, 5, 3, 16)).astype(np.float32))
    second = tf.Variable(rng.normal(0, 0.2, (3, 3, 16, SIZE)).astype(np.float32))

    def embed(pixels: tf.Tensor) -> tf.Tensor:
        x = (tf.cast(pixels, tf.float32) - 127) / 128
        x = tf.nn.relu6(tf.nn.conv2d(x, first, 2, "SAME"))
        return tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(x, second, 2, "SAME")), [1, 2])

    files = tmp_path_factory.mktemp("backbone")
    saved_model.write(embed, [first, second], (HEIGHT, WIDTH), files / "tensorflow")
    network = openvino.convert_model(files / "tensorflow")
    openvino.save_model(network, files / "openvino" / "model.xml", compress_to_fp16=False)
    spec = BackboneSpec(
        name="small",
        fingerprint="5ma11",
        height=HEIGHT,
        width=WIDTH,
        embedding_size=SIZE,
        precision="float32",
        licence="none",
        preprocessing="",
        folder="",
    )
    return Prepared(files, spec)


@pytest.fixture(scope="session")
def exported(small_backbone: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    from linnaeus.training.evaluation.decisions import DecisionRule
    from linnaeus.training.exporting.export import TrainedModel, export

    rng = np.random.default_rng(6)

    def dense(inputs: int, outputs: int) -> Dense:
        kernel = rng.normal(0, inputs**-0.5, (inputs, outputs)).astype(np.float32)
        return Dense(kernel, rng.normal(size=outputs).astype(np.float32))

    head = Head((dense(SIZE, 32), dense(32, len(LABELS))))
    folder = tmp_path_factory.mktemp("model")
    trained = TrainedModel(
        "shapes", DecisionRule(LABELS), head, small_backbone.spec, small_backbone.files
    )
    export(trained, folder)
    return Exported(folder, head, small_backbone)
