"""From a version's folder to a model that is fit to serve."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from serving.models import warmup
from serving.models.checked_model import CheckedModel
from serving.models.saved_models import SavedModel, SessionOptions
from serving.models.servable import Feeds, Servable
from serving.models.tflite_models import TfliteModel
from serving.models.version_folder import GRAPH, GRAPH_AS_TEXT, TFLITE


def _unwrapped(model: Servable) -> Servable:
    return model


def _ignore(path: Path, seconds: float, succeeded: bool) -> None:
    pass


@dataclass(frozen=True)
class LoadingOptions:
    """How versions are loaded, under TensorFlow Serving's flag names.

    Args:
        saved_model_tags: of the MetaGraphDef to load from a SavedModel.
        enable_model_warmup: replay a version's warm-up requests before it is offered.
        num_request_iterations_for_warmup: how often each of them is replayed.
        prefer_tflite_model: serve a version's `model.tflite` if it has one.
        num_tflite_pools: interpreters of one TensorFlow Lite model, so calls at once.
        session: of a SavedModel.
        wrap: what a loaded model is served through, for instance one that batches requests.
        on_warm_up: told the folder, seconds and success of every warm-up.
        on_run: told the seconds of every run of a graph; None for nobody.
        on_answer: told, in the thread of the request, how long that waited for the model, in a
            batching queue or while it ran; None for nobody.
    """

    saved_model_tags: tuple[str, ...] = ("serve",)
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    prefer_tflite_model: bool = False
    num_tflite_pools: int = 1
    session: SessionOptions = field(default_factory=SessionOptions)
    wrap: Callable[[Servable], Servable] = _unwrapped
    on_warm_up: Callable[[Path, float, bool], None] = _ignore
    on_run: Callable[[float], None] | None = None
    on_answer: Callable[[float], None] | None = None

    @property
    def complete_with(self) -> tuple[str, ...]:
        """Files of which one makes a version complete."""
        tflite = (TFLITE,) if self.prefer_tflite_model else ()
        return (*tflite, GRAPH, GRAPH_AS_TEXT)


def load(folder: Path, options: LoadingOptions) -> Servable:
    """Load a version and warm it up.

    Raises:
        StatusError: it cannot be loaded, or one of its warm-up requests fails.
    """
    opened = _opened(folder, options)
    model = options.wrap(_measured(opened, options.on_run))
    # Checked before requests meet in a batch, where a wrong one would spoil others.
    model = _measured(CheckedModel(model, opened.infer), options.on_answer)
    if options.enable_model_warmup and warmup.has_requests(folder):
        _warm_up(model, folder, options)
    return model


def _opened(folder: Path, options: LoadingOptions) -> TfliteModel | SavedModel:
    if options.prefer_tflite_model and (folder / TFLITE).is_file():
        return TfliteModel(folder / TFLITE, options.num_tflite_pools)
    return SavedModel(folder, options.saved_model_tags, options.session)


def _measured(model: Servable, on_run: Callable[[float], None] | None) -> Servable:
    return MeasuredModel(model, on_run) if on_run else model


def _warm_up(model: Servable, folder: Path, options: LoadingOptions) -> None:
    started = time.monotonic()
    succeeded = False
    try:
        warmup.warm_up(model, folder, options.num_request_iterations_for_warmup)
        succeeded = True
    finally:
        options.on_warm_up(folder, time.monotonic() - started, succeeded)


class MeasuredModel:
    """A `Servable` that tells `on_run` the seconds that each run of another one took."""

    def __init__(self, model: Servable, on_run: Callable[[float], None]) -> None:
        self.signatures = model.signatures
        self._model = model
        self._on_run = on_run

    def run(
        self, feeds: Feeds, fetches: Sequence[str], timeout_seconds: float | None = None
    ) -> list[NDArray[Any]]:
        """As `Servable.run`."""
        started = time.monotonic()
        outputs = self._model.run(feeds, fetches, timeout_seconds)
        self._on_run(time.monotonic() - started)
        return outputs
