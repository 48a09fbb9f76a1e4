"""A model whose runs are timed."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from serving.models.servable import Feeds, Servable


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
