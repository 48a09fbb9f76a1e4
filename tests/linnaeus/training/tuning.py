"""Small things to fine-tune: drawn shapes, and a module of one convolution that can be trained."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from linnaeus.backbones import BackboneSpec, local_files
from linnaeus.engines import open_engine
from linnaeus.images import decode
from linnaeus.storage import Folder
from linnaeus.training.data.examples import Examples, LabelledEmbeddings

LABELS = ("box", "disc")
SIDE = 16
CHANNELS = 6


def draw(folder: Path, images: int = 48) -> list[Path]:
    """Boxes and discs by turns, of any colour, on noise."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    files = []
    for number in range(images):
        picture = Image.fromarray(random.integers(0, 80, (48, 48, 3), np.uint8))
        left, top = random.integers(2, 12, 2).tolist()
        pen = ImageDraw.Draw(picture)
        shape = pen.ellipse if number % 2 else pen.rectangle
        shape([left, top, left + 30, top + 30], fill=tuple(random.integers(100, 255, 3).tolist()))
        files.append(folder / f"{number:03d}.png")
        picture.save(files[-1])
    return files


def pixels_of(files: list[Path], spec: BackboneSpec) -> Any:
    return np.stack([decode(f.read_bytes(), spec.height, spec.width).pixels for f in files])


def embeddings(workspace: Folder, spec: BackboneSpec, files: list[Path], engine: str = "auto"):
    opened = open_engine(local_files(workspace, spec.fingerprint), spec, engine)
    return opened.embed(pixels_of(files, spec))


def labelled(workspace: Folder, spec: BackboneSpec, files: list[Path]) -> LabelledEmbeddings:
    """Two thirds to train on, and a sixth each to validate and to test."""
    return _labelled(files, embeddings(workspace, spec, files))


def labelled_pixels(files: list[Path], spec: BackboneSpec) -> LabelledEmbeddings:
    """The same with mean colours in place of embeddings."""
    return _labelled(files, pixels_of(files, spec).mean((1, 2), np.float32))


def _labelled(files: list[Path], matrix: Any) -> LabelledEmbeddings:
    images = len(files)
    targets = np.arange(images) % 2
    rows = Examples(matrix, targets, np.ones(images, np.float32))
    ends = [0, images * 2 // 3, images * 5 // 6, images]
    names = ("train", "validation", "test")
    return LabelledEmbeddings(
        rows=rows,
        uris=pa.array([str(file) for file in files]),
        digests=pa.array([hashlib.sha256(file.read_bytes()).hexdigest() for file in files]),
        labels=LABELS,
        slices={name: slice(ends[i], ends[i + 1]) for i, name in enumerate(names)},
        left_out={},
    )


def module(to: Path, bias: float = 0.0) -> str:
    """A reusable module: its mean follows what it is trained on, its kernel is penalised.

    It adds `bias` to whatever it gives.
    """
    import tensorflow as tf

    random = np.random.default_rng(3)
    kernel = tf.Variable(random.normal(0, 0.4, (5, 5, 3, CHANNELS)).astype(np.float32))
    mean = tf.Variable(np.zeros(CHANNELS, np.float32), trainable=False)

    def call(images: Any, training: bool = False) -> Any:
        x = tf.nn.conv2d(images, kernel, 2, "SAME")
        if training:
            mean.assign(0.9 * mean + 0.1 * tf.reduce_mean(x, [0, 1, 2]))
        return tf.reduce_mean(tf.nn.relu(x - mean), [1, 2]) + bias

    made: Any = tf.__internal__.tracking.AutoTrackable()
    made.__call__ = tf.function(call)
    spec = tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32)
    for training in (True, False):
        made.__call__.get_concrete_function(spec, training=training)
    made.variables, made.trainable_variables = [kernel, mean], [kernel]
    made.regularization_losses = [
        tf.function(lambda: 1e-3 * tf.reduce_sum(kernel**2), input_signature=[])
    ]
    tf.saved_model.save(made, str(to))
    return str(to)
