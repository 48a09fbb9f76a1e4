"""Labels single photos: decoded, embedded and scored here, nothing stored."""

from collections.abc import Sequence

import numpy as np

from linnaeus import backbones, images
from linnaeus.engines import Engine, open_engine
from linnaeus.errors import ImageError
from linnaeus.models import Model, load_model
from linnaeus.storage import Folder, normalise, read_object
from training.published import opened

PhotoScores = tuple[str, list[tuple[str, float]]]
"""(photo as it was named, [(label, score), ...] best first)"""


def label_photos(workspace: Folder, photos: Sequence[str], model: str) -> list[PhotoScores]:
    """The best labels of each photo (a path or URI) by `NAME` or `NAME:VERSION`, in order.

    Raises:
        ConfigurationError: If the model does not exist.
        StorageError, ImageError: If a photo cannot be read or decoded; the message names it.
    """
    described = load_model(workspace, model)
    files = backbones.local_files(workspace, described.fingerprint)
    engine = open_engine(files, backbones.load_spec(workspace, described.fingerprint))
    try:
        embeddings = np.concatenate([_embed(photo, described, engine) for photo in photos])
    finally:
        engine.close()
    with opened(workspace, described) as published:
        outputs = published.call("embedding", embedding=embeddings)
    return [
        (photo, [(label.decode(), float(score)) for label, score in zip(*best, strict=True)])
        for photo, *best in zip(photos, outputs["top_labels"], outputs["top_scores"], strict=True)
    ]


def _embed(photo: str, model: Model, engine: Engine) -> np.ndarray:
    """The embedding [1, D] of one photo, as a worker computes it."""
    data = read_object(normalise(photo), None)
    try:
        picture = images.decode(data, model.backbone.height, model.backbone.width)
    except ImageError as e:
        raise ImageError(f"{photo}: {e}", e.code) from e
    return engine.embed(picture.pixels[None])
