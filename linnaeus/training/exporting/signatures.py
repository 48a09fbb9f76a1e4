"""The exported model's computation: backbone, head and labels under the agreed signatures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from linnaeus.models import ModelBackbone
from linnaeus.records import UNKNOWN
from linnaeus.signatures import (
    EMBED,
    EMBEDDING,
    IMAGE_BYTES,
    KEYED,
    PIXELS,
    SCORES,
    SERVING_DEFAULT,
)
from linnaeus.training.evaluation.decisions import TOP_K, DecisionRule
from linnaeus.training.exporting.image_ops import decode_images
from linnaeus.training.heads.head import Dense, Head, Layer, RadialBasis

CLASSIFY = "classify"

Tensors = dict[str, tf.Tensor]


class Classifier(tf.Module):
    """What is saved; every input has a first axis of any length N.

    Outputs where nothing else is said: `label` string [N], perhaps `unknown`, `confidence` float32
    [N], `scores` float32 [N, C] in the order of the labels, `top_labels` string and `top_scores`
    float32 [N, min(5, C)], best first. Where several labels may apply, `labels` string [N, M], too:
    all that do, best first, padded with "" to as many as the batch has at most, and at least one.
    """

    def __init__(
        self, saved_backbone: Path, backbone: ModelBackbone, head: Head, rule: DecisionRule
    ) -> None:
        super().__init__()
        # Held as an attribute, so that its variables are saved too.
        self.backbone = tf.saved_model.load(str(saved_backbone))
        self._backbone_of = self.backbone.signatures[SERVING_DEFAULT]
        self._size = (backbone.height, backbone.width)
        self._embedding_size = backbone.embedding_size
        # Traced and saved once, for all signatures that take encoded images.
        self._pixels_of = tf.function(
            lambda image_bytes: decode_images(image_bytes, *self._size),
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        self.head = ExportedHead(head)
        self._say = SAYS[rule.task](rule)

    def signatures(self) -> dict[str, Callable[..., Tensors]]:
        """The functions to save, by signature name."""
        image_bytes = tf.TensorSpec([None], tf.string, name=IMAGE_BYTES)
        key = tf.TensorSpec([None], tf.string, name="key")
        pixels = tf.TensorSpec([None, *self._size, 3], tf.uint8, name=PIXELS)
        embedding = tf.TensorSpec([None, self._embedding_size], tf.float32, name=EMBEDDING)
        inputs = tf.TensorSpec([None], tf.string, name="inputs")
        arguments = {
            SERVING_DEFAULT: (self.serving_default, [image_bytes]),
            KEYED: (self.keyed, [image_bytes, key]),
            PIXELS: (self.pixels, [pixels]),
            EMBEDDING: (self.embedding, [embedding]),
            EMBED: (self.embed, [image_bytes]),
            CLASSIFY: (self.classify, [inputs]),
        }
        return {
            name: tf.function(function, input_signature=specs)
            for name, (function, specs) in arguments.items()
        }

    def serving_default(self, image_bytes: tf.Tensor) -> Tensors:
        """Labels encoded images, string [N]."""
        return self.pixels(self._pixels_of(image_bytes))

    def keyed(self, image_bytes: tf.Tensor, key: tf.Tensor) -> Tensors:
        """The same, and gives `key` string [N] back."""
        return {"key": tf.identity(key), **self.serving_default(image_bytes)}

    def pixels(self, pixels: tf.Tensor) -> Tensors:
        """Labels decoded images, uint8 [N, H, W, 3] of the backbone's size."""
        return self.embedding(self._backbone_of(pixels=pixels)[EMBEDDING])

    def embedding(self, embedding: tf.Tensor) -> Tensors:
        """Labels embeddings, float32 [N, D]."""
        return self._say(self.head(embedding))

    def embed(self, image_bytes: tf.Tensor) -> Tensors:
        """Gives the `embedding` float32 [N, D] of encoded images, string [N]."""
        pixels = self._pixels_of(image_bytes)
        return {EMBEDDING: self._backbone_of(pixels=pixels)[EMBEDDING]}

    def classify(self, inputs: tf.Tensor) -> Tensors:
        """Labels serialised `tf.Example`s: `classes` and `scores` [N, min(5, C)], best first."""
        features = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        examples: Any = tf.io.parse_example(inputs, features)
        outputs = self.serving_default(examples["image/encoded"])
        return {"classes": outputs["top_labels"], SCORES: outputs["top_scores"]}


class ExportedHead(tf.Module):
    """A `Head` in TensorFlow, computed in float64 as there."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.layers = [_exported(layer) for layer in head.layers]

    def __call__(self, embedding: tf.Tensor) -> tf.Tensor:
        """Logits, float64 [N, C], of embeddings, float32 [N, D]."""
        activations = tf.cast(embedding, tf.float64)
        for layer in self.layers:
            activations = layer(activations)
        return activations


class ExportedDense(tf.Module):
    """A head's `Dense` in TensorFlow; its weights are saved beside the graph, not in it."""

    def __init__(self, layer: Dense) -> None:
        super().__init__()
        self.kernel, self.bias = _variable(layer.kernel), _variable(layer.bias)
        self._activation = keras.activations.get(layer.activation)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Activations [n, outputs] of inputs [n, inputs]."""
        return self._activation(tf.matmul(x, self.kernel) + self.bias)


class ExportedRadialBasis(tf.Module):
    """A head's `RadialBasis` in TensorFlow."""

    def __init__(self, layer: RadialBasis) -> None:
        super().__init__()
        self.centres = _variable(layer.centres)
        self.mean, self.scale = _variable(layer.mean), _variable(layer.scale)
        self._gamma = layer.gamma

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Values [n, M] of inputs [n, D]."""
        scaled = (x - self.mean) * self.scale
        squares = tf.reduce_sum(scaled * scaled, axis=1, keepdims=True)
        squares += tf.reduce_sum(self.centres**2, axis=1)
        squares -= 2 * tf.matmul(scaled, self.centres, transpose_b=True)
        return tf.exp(-self._gamma * tf.maximum(squares, 0.0))


def one_label(rule: DecisionRule) -> Callable[[tf.Tensor], Tensors]:
    """`DecisionRule.decide` in TensorFlow, of logits [N, C] of a `single` model."""

    def say(logits: tf.Tensor) -> Tensors:
        best = _best(tf.cast(tf.nn.softmax(logits), tf.float32), rule)
        winner, confidence = best["top_labels"][:, 0], best["top_scores"][:, 0]
        sure = confidence >= tf.constant(rule.abstain_below, tf.float32)
        return {"label": tf.where(sure, winner, UNKNOWN), "confidence": confidence, **best}

    return say


def several_labels(rule: DecisionRule) -> Callable[[tf.Tensor], Tensors]:
    """`DecisionRule.decide` in TensorFlow, of logits [N, C] of a `multi` model."""

    def say(logits: tf.Tensor) -> Tensors:
        scores = tf.cast(tf.sigmoid(logits), tf.float32)
        chosen = scores >= tf.constant(rule.label_thresholds)
        ordered = tf.math.top_k(tf.where(chosen, scores, -1.0), k=len(rule.labels))
        applies = ordered.values >= 0
        most = tf.reduce_max(tf.reduce_sum(tf.cast(applies, tf.int32), axis=1))
        labels = tf.where(applies, tf.gather(tf.constant(rule.labels), ordered.indices), "")
        best = _best(scores, rule)
        any_applies = applies[:, 0]
        return {
            "label": tf.where(any_applies, labels[:, 0], UNKNOWN),
            "confidence": tf.where(any_applies, ordered.values[:, 0], best["top_scores"][:, 0]),
            "labels": labels[:, : tf.maximum(most, 1)],
            **best,
        }

    return say


SAYS = {"single": one_label, "multi": several_labels}


def _best(scores: tf.Tensor, rule: DecisionRule) -> Tensors:
    top = tf.math.top_k(scores, k=min(TOP_K, len(rule.labels)))
    top_labels = tf.gather(tf.constant(rule.labels), top.indices)
    return {SCORES: scores, "top_labels": top_labels, "top_scores": top.values}


def _exported(layer: Layer) -> ExportedDense | ExportedRadialBasis:
    return ExportedDense(layer) if isinstance(layer, Dense) else ExportedRadialBasis(layer)


def _variable(values: NDArray[np.floating]) -> tf.Variable:
    return tf.Variable(tf.constant(values, tf.float64), trainable=False)
