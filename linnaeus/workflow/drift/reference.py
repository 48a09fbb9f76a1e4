"""What a model version was trained on: moments of its images' embeddings, and counts of labels.

It is made when a workflow run first asks for it and lies in `drift/<model>/<training run>.json`,
create-only: a version's training images do not change.
"""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from linnaeus import documents, manifests
from linnaeus.errors import ConfigurationError
from linnaeus.models import Model
from linnaeus.storage import Folder
from linnaeus.training.data import dataset
from linnaeus.training.data.held_out import splits_now
from linnaeus.workflow.drift.measures import Moments
from linnaeus.workflow.drift.sampled_moments import stored_moments

FOLDER = "drift"


@dataclass(frozen=True)
class Reference:
    """The training images of a model version."""

    images: int
    moments: Moments
    """Of their embeddings, or of a sample's."""
    labels: dict[str, int]
    """Images by label; of several labels each counts."""

    def to_json(self, model: Model) -> str:
        """For the workspace."""
        fields: dict[str, Any] = {
            "model": model.name,
            "version": model.version,
            "fingerprint": model.fingerprint,
            "images": self.images,
            "sampled": self.moments.count,
            "mean": self.moments.mean.tolist(),
            "variance": self.moments.variance.tolist(),
            "labels": self.labels,
        }
        return json.dumps(fields, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: bytes) -> "Reference":
        """The inverse of `to_json`."""
        fields = json.loads(text)
        mean, variance = np.array(fields["mean"]), np.array(fields["variance"])
        return cls(fields["images"], Moments(fields["sampled"], mean, variance), fields["labels"])


def reference_key(model: Model) -> str:
    """Where it lies in the workspace."""
    return f"{FOLDER}/{model.name}/{model.identity}.json"


def reference_of(workspace: Folder, model: Model) -> Reference:
    """What the version was trained on, as it is kept or, the first time, as it is found.

    Raises:
        ConfigurationError: its images are not known in this workspace.
        StorageError: the workspace cannot be read or written.
    """
    key = reference_key(model)
    kept = documents.read(workspace, key, "delete it", Reference.from_json)
    if kept is not None:
        return kept
    found = _found(workspace, model)
    workspace.write_new(key, found.to_json(model).encode())
    return found


def _found(workspace: Folder, model: Model) -> Reference:
    trained = _training_images(workspace, model)
    moments = stored_moments(workspace, model.fingerprint, trained.select(["sha256"]))
    labels = Counter(label for truth in trained["truth"].to_pylist() for label in truth)
    return Reference(len(trained), moments, dict(sorted(labels.items())))


def _training_images(workspace: Folder, model: Model) -> pa.Table:
    """The rows of the manifest that the version was trained on, by the split it was given."""
    if "manifest_id" not in model.data:
        raise ConfigurationError(
            f"{model.name}:{model.version} does not say which images it was trained on: "
            "train it anew to measure drift"
        )
    manifest = manifests.describe(workspace, model.data["manifest_id"])
    used = dataset.usable(dataset.judge(workspace, manifest, model.fingerprint))
    return used.filter(pc.equal(splits_now(workspace, used, model), "train"))
