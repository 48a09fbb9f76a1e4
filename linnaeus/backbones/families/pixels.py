"""The identity: a picture's own values as its embedding, for small images such as digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linnaeus.backbones import TENSORFLOW, Family, Saved
from linnaeus.backbones.families import saved_model
from linnaeus.errors import ConfigurationError

GRAPH_VERSION = "1"
SIZE = 28
WHITE = 255.0


@dataclass(frozen=True)
class Pixels(Family):
    """Rows, then columns, then red, green and blue, each from 0 to 1."""

    key = "pixels"
    networks = ("pixels",)
    licence = "none needed"

    def identity(self) -> str:
        """There are no weights."""
        return GRAPH_VERSION

    def save(self, to: Path) -> Saved:
        """Write the SavedModel; `+mid` raises ConfigurationError."""
        import tensorflow as tf

        if self.name.middle:
            raise ConfigurationError(f"Backbone {self.name}: pixels has no middle layers.")
        size = self.name.size or SIZE

        def embed(pixels: Any) -> Any:
            return tf.reshape(tf.cast(pixels, tf.float32) / WHITE, [-1, size * size * 3])

        values = saved_model.write(embed, None, (size, size), to / TENSORFLOW)
        return Saved(
            weights_sha256="",
            graph=f"pixels-{GRAPH_VERSION}",
            taps="",
            height=size,
            width=size,
            embedding_size=values,
            licence=self.licence,
        )

    @property
    def fixed(self) -> str:
        """There are no weights."""
        return (
            "it has no weights, train a head of layers on it, or fine-tune a network such as "
            "efficientnet-lite0"
        )
