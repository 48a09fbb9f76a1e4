"""Labels single photos: decoded, embedded and scored here, nothing stored."""

import threading
import weakref
from collections.abc import Sequence
from contextlib import ExitStack, closing
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


class Labeller:
    """Labels photos by models of a workspace. The model that was asked last stays loaded."""

    def __init__(self, workspace: Folder, progress: Progress = SILENT) -> None:
        self._workspace, self._progress = workspace, progress
        self._loaded: _LoadedModel | None = None
        self._lock = threading.Lock()

    def label(self, photos: Sequence[str], model: str) -> list[PhotoLabels]:
        """The best labels of each photo (a path or URI) by `NAME` or `NAME:VERSION`, in order.

        A photo that cannot be read or decoded says so in its `error` and costs the others nothing.

        Raises:
            ConfigurationError: If the model does not exist or a photo's name cannot be one.
        """
        described = load_model(self._workspace, model)
        read = {photo: _read(photo, described) for photo in photos}
        pixels = {photo: one for photo, one in read.items() if not isinstance(one, str)}
        labelled: dict[str, PhotoLabels] = {}
        if pixels:
            with self._lock:
                labelled = self._load(described).label(pixels)
        return [labelled.get(photo) or PhotoLabels(photo, [], str(read[photo])) for photo in photos]

    def _load(self, model: Model) -> "_LoadedModel":
        """Loading takes seconds. Another training of the same name and number is another model."""
        if self._loaded is None or self._loaded.model != model:
            self._loaded = None  # before the next one takes memory, too
            with self._progress.step("Load model", None):
                self._loaded = _LoadedModel(self._workspace, model)
        return self._loaded


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


class _LoadedModel:
    """A published model and its backbone's engine, which end with this object."""

    def __init__(self, workspace: Folder, model: Model) -> None:
        from linnaeus.training.exporting.published import opened  # imports TensorFlow, for seconds

        self.model = model
        spec = backbones.load_spec(workspace, model.fingerprint)
        with ExitStack() as stack:
            files = backbones.local_files(workspace, model.fingerprint)
            self._engine = stack.enter_context(closing(open_engine(files, spec)))
            self._published = stack.enter_context(opened(workspace, model))
            weakref.finalize(self, stack.pop_all().close)

    def label(self, pixels: dict[str, Pixels]) -> dict[str, PhotoLabels]:
        """What the model says of each picture by name, embedded as a worker embeds it."""
        embeddings = np.concatenate([self._engine.embed(one[None]) for one in pixels.values()])
        decisions = DecisionRule.of(self.model).decide(self._published.scores(embeddings))
        best = [
            list(zip(labels, scores, strict=True))
            for labels, scores in zip(
                decisions.top_labels, decisions.top_scores.tolist(), strict=True
            )
        ]
        return {
            photo: PhotoLabels(photo, best[i], None, decisions.label[i], decisions.labels[i])
            for i, photo in enumerate(pixels)
        }
