"""What a kind of network has to offer so that it can be prepared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from linnaeus.backbones.spec import Tuning
from linnaeus.backbones.trainable import Extent, Trainable

TENSORFLOW = "tensorflow"
"""Folder of the SavedModel, below the backbone's."""


@dataclass(frozen=True)
class Saved:
    """A network as it was written: what its fingerprint and spec are made of."""

    weights_sha256: str
    """Hash of the weights' content, equal on every machine."""
    graph: str
    """Version of the definition that turned them into a network."""
    taps: str
    """Which outputs make the embedding."""
    height: int
    width: int
    embedding_size: int
    licence: str
    tuning: Tuning | None = None


class Writable(Protocol):
    """A network that can become a backbone."""

    def save(self, to: Path) -> Saved:
        """Write the SavedModel into `to/tensorflow`."""


class Network(Writable, Protocol):
    """A named network that has not been prepared yet."""

    def identity(self) -> str:
        """What tells it from all others of its kind, but for size and taps.

        Found without TensorFlow and without a download: a content hash where the weights are at
        hand or pinned; else the handle, which by convention never changes its content.
        """

    def trainable(self, extent: Extent) -> Trainable:
        """The network with its weights in memory; raises ConfigurationError if it has none."""
