"""Writes a model's folder: a SavedModel for stock TensorFlow Serving, and what goes with it.

saved_model.pb, variables/                  what `signatures` makes
assets.extra/tf_serving_warmup_requests     sent by a server to itself before it serves
labels.txt                                  a label a line, in the order of the scores
golden/                                     pictures and what the worker says of them
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from linnaeus.backbones import BackboneSpec
from linnaeus.engines import open_engine
from linnaeus.models import ModelBackbone
from linnaeus.records import prediction_outputs
from linnaeus.signatures import EMBEDDING, IMAGE_BYTES, PIXELS, SERVING_DEFAULT
from linnaeus.training.evaluation.decisions import DecisionRule
from linnaeus.training.exporting import golden, warmup
from linnaeus.training.exporting.signatures import CLASSIFY, Classifier
from linnaeus.training.heads.head import Head


@dataclass(frozen=True)
class TrainedModel:
    """All that an export is made of."""

    name: str
    rule: DecisionRule
    """The labels, and what the model makes of their scores."""
    head: Head
    spec: BackboneSpec
    backbone_files: Path
    """The prepared backbone's folder, on this machine."""

    @property
    def backbone(self) -> ModelBackbone:
        """The backbone as the model's description names it."""
        return ModelBackbone.of(self.spec)


def export(trained: TrainedModel, folder: Path) -> None:
    """Writes everything but `linnaeus.json` into the existing `folder`."""
    write_saved_model(trained, folder)
    write_labels(trained.rule.labels, folder)
    write_golden(trained, folder)
    write_warmup(trained, folder)


def write_saved_model(trained: TrainedModel, folder: Path) -> None:
    """Writes `saved_model.pb` and `variables/`."""
    classifier = Classifier(
        trained.backbone_files / "tensorflow", trained.backbone, trained.head, trained.rule
    )
    tf.saved_model.save(classifier, str(folder), signatures=classifier.signatures())
    set_method(folder / "saved_model.pb", CLASSIFY, "tensorflow/serving/classify")


def set_method(saved_model: Path, signature: str, method: str) -> None:
    """Names the API that a signature is for: `tf.saved_model.save` can only say Predict."""
    message = SavedModel.FromString(saved_model.read_bytes())
    message.meta_graphs[0].signature_def[signature].method_name = method
    saved_model.write_bytes(message.SerializeToString(deterministic=True))


def write_labels(labels: tuple[str, ...], folder: Path) -> None:
    """Writes `labels.txt`."""
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), "utf-8")


def write_golden(trained: TrainedModel, folder: Path) -> None:
    """Writes `golden/`, computed by the engine that a worker would choose here."""
    with closing(open_engine(trained.backbone_files, trained.spec)) as engine:
        golden.write(folder / "golden", engine, trained.backbone, trained.head, trained.rule)


def write_warmup(trained: TrainedModel, folder: Path) -> None:
    """Writes a record for each signature that scoring uses."""
    backbone = trained.backbone
    pixels = np.full((1, backbone.height, backbone.width, 3), 128, np.uint8)
    picture = (folder / "golden" / "plain.jpg").read_bytes()
    inputs: dict[str, dict[str, Any]] = {
        EMBEDDING: {EMBEDDING: np.zeros((1, backbone.embedding_size), np.float32)},
        PIXELS: {PIXELS: pixels},
        SERVING_DEFAULT: {IMAGE_BYTES: [picture]},
    }
    warmup.write(folder, trained.name, inputs, prediction_outputs(trained.rule.task))
