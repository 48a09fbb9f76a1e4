"""Labels single photos: decoded, embedded and scored here, nothing stored."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from linnaeus import backbones
from linnaeus.engines import open_engine
from linnaeus.errors import ImageError, StorageError
from linnaeus.images import isolation
from linnaeus.models import Model, load_model
from linnaeus.progress import SILENT, Progress
from linnaeus.records import PhotoLabels
from linnaeus.storage import Folder, normalise, read_object
from linnaeus.training.evaluation.decisions import DecisionRule

Pixels = NDArray[np.uint8]


def label_photos(
    workspace: Folder, photos: Sequence[str], model: str, progress: Progress = SILENT
) -> list[PhotoLabels]:
    """The best labels of each photo (a path or URI) by `NAME` or `NAME:VERSION`, in order.

    A photo that cannot be read or decoded says so in its `error` and costs the others nothing.

    Raises:
        ConfigurationError: If the model does not exist or a photo's name cannot be one.
    """
    described = load_model(workspace, model)
    read = {photo: _read(photo, described) for photo in photos}
    pixels = {photo: one for photo, one in read.items() if not isinstance(one, str)}
    found = _label(workspace, described, pixels, progress) if pixels else {}
    return [found.get(photo) or PhotoLabels(photo, [], str(read[photo])) for photo in photos]


def _read(photo: str, model: Model) -> Pixels | str:
    """The pixels [H, W, 3] that the backbone sees, or why there are none."""
    uri = normalise(photo)
    try:
        data = read_object(uri, None)
        return isolation.decode(data, model.backbone.height, model.backbone.width).pixels
    except StorageError as error:
        folder = Path(uri).is_dir()
        return f"{error}: `linnaeus score` labels folders" if folder else str(error)
    except ImageError as error:
        return f"{photo}: {error}"


def _label(
    workspace: Folder, model: Model, pixels: dict[str, Pixels], progress: Progress
) -> dict[str, PhotoLabels]:
    """What the model says of each picture by name, embedded as a worker embeds it."""
    with progress.step("Load model", None):
        from linnaeus.training.exporting.published import opened  # imports TensorFlow, for seconds

        spec = backbones.load_spec(workspace, model.fingerprint)
        engine = open_engine(backbones.local_files(workspace, model.fingerprint), spec)
        with closing(engine), opened(workspace, model) as published:
            embeddings = np.concatenate([engine.embed(one[None]) for one in pixels.values()])
            said = DecisionRule.of(model).decide(published.scores(embeddings))
    best = [
        list(zip(labels, scores, strict=True))
        for labels, scores in zip(said.top_labels, said.top_scores.tolist(), strict=True)
    ]
    return {
        photo: PhotoLabels(photo, best[i], None, said.label[i], said.labels[i])
        for i, photo in enumerate(pixels)
    }
