"""Labels single photos: decoded, embedded and scored here, nothing stored."""

from collections.abc import Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from linnaeus import backbones, images
from linnaeus.engines import open_engine
from linnaeus.errors import ImageError, StorageError
from linnaeus.models import Model, load_model
from linnaeus.progress import SILENT, Progress
from linnaeus.records import PhotoLabels
from linnaeus.storage import Folder, normalise, read_object

Pixels = NDArray[np.uint8]
Scores = list[tuple[str, float]]


def label_photos(
    workspace: Folder, photos: Sequence[str], model: str, progress: Progress = SILENT
) -> list[PhotoLabels]:
    """The best labels of each photo (a path or URI) by `NAME` or `NAME:VERSION`, in order.

    A photo that cannot be read or decoded says so in its `error` and costs the others nothing.

    Raises:
        ConfigurationError: If the model does not exist or a photo's name cannot be one.
    """
    described = load_model(workspace, model)
    read = [_read(photo, described) for photo in photos]
    pixels = [one for one in read if not isinstance(one, str)]
    scores = iter(_score(workspace, described, pixels, progress) if pixels else [])
    return [
        PhotoLabels(photo, [], one) if isinstance(one, str) else PhotoLabels(photo, next(scores))
        for photo, one in zip(photos, read, strict=True)
    ]


def _read(photo: str, model: Model) -> Pixels | str:
    """The pixels [H, W, 3] that the backbone sees, or why there are none."""
    uri = normalise(photo)
    try:
        data = read_object(uri, None)
        return images.decode(data, model.backbone.height, model.backbone.width).pixels
    except StorageError as error:
        return str(error)
    except ImageError as error:
        return f"{photo}: {error}"


def _score(
    workspace: Folder, model: Model, pixels: list[Pixels], progress: Progress
) -> list[Scores]:
    """The best labels of each picture, embedded as a worker embeds it."""
    with progress.step("Load model", None):
        from training.published import opened  # imports TensorFlow, for seconds

        spec = backbones.load_spec(workspace, model.fingerprint)
        engine = open_engine(backbones.local_files(workspace, model.fingerprint), spec)
        with closing(engine), opened(workspace, model) as published:
            embeddings = np.concatenate([engine.embed(one[None]) for one in pixels])
            outputs = published.call("embedding", embedding=embeddings)
    return [
        [(label.decode(), float(score)) for label, score in zip(*best, strict=True)]
        for best in zip(outputs["top_labels"], outputs["top_scores"], strict=True)
    ]
