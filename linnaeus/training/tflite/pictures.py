"""Labelled pictures that a converted model is calibrated and tested on."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError, ImageError, StorageError
from linnaeus.images import isolation
from linnaeus.manifests import Manifest
from linnaeus.models import Model
from linnaeus.process import processors
from linnaeus.storage import Folder, read_object
from linnaeus.training.data import dataset, refusals
from linnaeus.training.data.held_out import held_out, splits_now
from linnaeus.training.data.truth import presence, selected_labels

CALIBRATION_IMAGES = 200
TEST_IMAGES = 500
SEED = 0

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures as the backbone sees them, and which labels they have."""

    pixels: Pixels
    """uint8 `[n, H, W, 3]`."""
    truth: NDArray[np.uint8]
    """0 or 1, `[n, C]`, in the order of the model's labels."""


def read(
    workspace: Folder, manifest: Manifest, model: Model
) -> tuple[LabelledPictures, LabelledPictures]:
    """Pictures to calibrate on, of those the model was trained on, and to test on, of the others.

    Where the model was trained on another source, both are of all the manifest's images. A fixed
    seed draws `CALIBRATION_IMAGES` and `TEST_IMAGES` of them at most.

    Raises:
        ConfigurationError: If no labelled and embedded image is there for one of them, none can
            be read, or one has a label that the model does not know.
    """
    used = dataset.usable(dataset.image_fates(workspace, manifest, model.fingerprint))
    selected_labels(used, model.labels)  # refuses others
    known, unknown = _split(workspace, manifest, model, used)
    return (
        _read(known, CALIBRATION_IMAGES, manifest, model),
        _read(unknown, TEST_IMAGES, manifest, model),
    )


def _split(
    workspace: Folder, manifest: Manifest, model: Model, used: pa.Table
) -> tuple[pa.Table, pa.Table]:
    if manifest.source != model.data["source"]:
        return used, used
    tested = held_out(workspace, used, model)
    trained = pc.equal(splits_now(workspace, used, model), "train")
    return used.filter(pc.and_not(trained, tested)), used.filter(tested)


def _read(rows: pa.Table, at_most: int, manifest: Manifest, model: Model) -> LabelledPictures:
    chosen = np.random.default_rng(SEED).permutation(len(rows))[:at_most]
    rows = rows.take(np.sort(chosen))
    size = model.backbone.height, model.backbone.width
    with ThreadPoolExecutor(processors()) as pool:
        decoded = list(pool.map(lambda uri: _decoded(uri, size), rows["uri"].to_pylist()))
    there = [row for row, pixels in enumerate(decoded) if pixels is not None]
    if not there:
        raise ConfigurationError(
            f"{manifest.source} has no labelled picture to calibrate or test a TFLite file on: run "
            f"`{refusals.embed_command(manifest, model.backbone)}`, or name images that have labels"
        )
    pixels = np.stack([pixels for pixels in decoded if pixels is not None])
    return LabelledPictures(pixels, presence(rows["truth"].take(there), model.labels))


def _decoded(uri: str, size: tuple[int, int]) -> Pixels | None:
    """None for a picture that is gone or damaged since it was embedded."""
    try:
        return isolation.decode(read_object(uri, None), *size).pixels
    except (ImageError, StorageError):
        return None
