"""What a model version was trained on: moments of its images' embeddings, and counts of labels.

It is made when a workflow run first asks for it and lies in `drift/<model>/<training run>.json`,
create-only: a version's training images do not change.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from linnaeus import manifests
from linnaeus.documents import Document
from linnaeus.errors import ConfigurationError
from linnaeus.models import Model
from linnaeus.storage import Folder
from linnaeus.training.data import dataset
from linnaeus.training.data.held_out import splits_now
from linnaeus.workflow.drift.measures import Moments
from linnaeus.workflow.drift.sampled_moments import stored_moments

FOLDER = "drift"


@dataclass(frozen=True)
class Reference(Document):
    """The training images of a model version."""

    model: str
    version: int
    fingerprint: str
    images: int
    sampled: int
    """Of which embeddings `mean` and `variance` [D] are."""
    mean: Sequence[float]
    variance: Sequence[float]
    labels: Mapping[str, int]
    """Images by label; of several labels each counts."""

    @property
    def moments(self) -> Moments:
        """Of the embeddings."""
        return Moments(self.sampled, np.array(self.mean), np.array(self.variance))


def reference_key(model: Model) -> str:
    """Where it lies in the workspace."""
    return f"{FOLDER}/{model.name}/{model.identity}.json"


def reference_of(workspace: Folder, model: Model) -> Reference:
    """What the version was trained on, as it is kept or, the first time, as it is measured.

    Raises:
        ConfigurationError: its images are not known in this workspace.
        StorageError: the workspace cannot be read or written.
    """
    key = reference_key(model)
    if kept := Reference.read_or_none(workspace, key):
        return kept
    reference = _measured(workspace, model)
    workspace.write_new(key, reference.to_json().encode())
    return reference


def _measured(workspace: Folder, model: Model) -> Reference:
    trained = _training_images(workspace, model)
    moments = stored_moments(workspace, model.fingerprint, trained.select(["sha256"]))
    labels = Counter(label for truth in trained["truth"].to_pylist() for label in truth)
    return Reference(
        model.name,
        model.version,
        model.fingerprint,
        len(trained),
        moments.count,
        moments.mean.tolist(),
        moments.variance.tolist(),
        dict(sorted(labels.items())),
    )


def _training_images(workspace: Folder, model: Model) -> pa.Table:
    """The rows of the manifest that the version was trained on, by the split it was given."""
    if "manifest_id" not in model.data:
        raise ConfigurationError(
            f"{model.name}:{model.version} does not say which images it was trained on: "
            "train it again to measure drift"
        )
    manifest = manifests.describe(workspace, model.data["manifest_id"])
    used = dataset.usable(dataset.image_fates(workspace, manifest, model.fingerprint))
    return used.filter(pc.equal(splits_now(workspace, used, model), "train"))
