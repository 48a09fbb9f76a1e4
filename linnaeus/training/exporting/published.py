"""A published model on this machine: its files, and its scores for stored embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.models import Model
from linnaeus.signatures import EMBEDDING, SCORES
from linnaeus.storage import Folder, is_local
from linnaeus.training.heads.head import BLOCK_ROWS, blocks


@contextmanager
def opened(workspace: Folder, model: Model) -> Iterator["PublishedModel"]:
    """Loads a version's SavedModel, from a local copy where the workspace is remote."""
    if is_local(workspace.uri):
        yield PublishedModel(Path(workspace.uri_of(model.prefix)))
        return
    with TemporaryDirectory(prefix="linnaeus-model-") as folder:
        workspace.download(model.prefix, Path(folder))
        yield PublishedModel(Path(folder))


class PublishedModel:
    """A loaded SavedModel, called by its signatures as a server calls it."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self.folder = folder
        # The signatures' functions die with the object they came from.
        self._loaded = tf.saved_model.load(str(folder))

    def call(self, signature: str, **inputs: Any) -> dict[str, NDArray]:
        """Outputs of one call, by name."""
        import tensorflow as tf

        outputs = self._loaded.signatures[signature](
            **{name: tf.constant(value) for name, value in inputs.items()}
        )
        return {name: output.numpy() for name, output in outputs.items()}

    def scores(
        self, values: NDArray[Any], signature: str = EMBEDDING, at_once: int = BLOCK_ROWS
    ) -> NDArray[np.float32]:
        """Scores [n, C] of embeddings [n, D], or of what another signature takes, so many a call.

        An input is called as its signature.
        """
        parts = [
            self.call(signature, **{signature: values[rows]})[SCORES]
            for rows in blocks(len(values), at_once)
        ]
        return np.concatenate(parts)
