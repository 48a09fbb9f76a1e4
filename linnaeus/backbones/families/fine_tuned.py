"""Fine-tuned backbones: how a trained network becomes one of a workspace, and is found there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from linnaeus.backbones import (
    TENSORFLOW,
    BackboneName,
    BackboneSpec,
    Family,
    Saved,
    Trainable,
    Tuning,
    arrays_sha256,
    store,
)
from linnaeus.backbones.families import saved_model
from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder

if TYPE_CHECKING:
    import tensorflow as tf


TUNED_PREFIX = "tuned:"


def name_of(fingerprint: str) -> str:
    """The name by which a fine-tuned backbone is asked for."""
    return f"{TUNED_PREFIX}{fingerprint}"


@dataclass(frozen=True)
class TunedNetwork:
    """A trained network that is not stored yet: a trained-on base, and layers above it."""

    base: Trainable
    above: Callable[[tf.Tensor], tf.Tensor]
    """The base's values, float32 `[N, D]`, to the embedding."""
    variables: list[tf.Variable]
    """Of the layers above."""
    graph: str
    """What these layers are; with the base's own it decides the fingerprint."""
    tuning: Tuning

    def save(self, to: Path) -> Saved:
        """Write the SavedModel."""
        base = self.base
        values = saved_model.write(
            lambda pixels: self.above(base.embed(pixels)),
            [base.parts, self.variables],
            (base.height, base.width),
            to / TENSORFLOW,
        )
        arrays = [*base.arrays(), *(variable.numpy() for variable in self.variables)]
        return Saved(
            weights_sha256=arrays_sha256(arrays),
            graph=f"{base.graph};{self.graph}",
            taps=base.taps,
            height=base.height,
            width=base.width,
            embedding_size=values,
            licence=base.licence,
            tuning=self.tuning,
        )


@dataclass(frozen=True)
class StoredTuned(Family):
    """A fine-tuned backbone of a workspace, and the start of one of reduced precision."""

    workspace: Folder
    spec: BackboneSpec

    key = "tuned"
    others = "a backbone fine-tuned in the workspace (tuned:FINGERPRINT)"
    licence = "that of the weights it began with"

    @classmethod
    def parse(cls, text: str) -> BackboneName | None:
        """Its size and its layers are what they are, so nothing comes behind the fingerprint."""
        if not text.startswith(TUNED_PREFIX):
            return None
        if not re.fullmatch("[0-9a-f]+", text.removeprefix(TUNED_PREFIX)):
            raise ConfigurationError(
                f"Backbone {text!r}: behind {TUNED_PREFIX} comes the fingerprint of a backbone "
                "that was fine-tuned in this workspace, and nothing else."
            )
        return BackboneName(cls, text)

    @classmethod
    def of(cls, workspace: Folder, name: BackboneName) -> StoredTuned:
        """Raises ConfigurationError where the workspace has none so named."""
        spec = store.find(workspace, name.network.removeprefix(TUNED_PREFIX))
        if spec is None or spec.name != str(name) or spec.precision != "float32" or spec.view:
            raise ConfigurationError(
                f"The workspace {workspace.uri} has no backbone {name}: fine-tune one there, "
                "or name the workspace in which it was."
            )
        return cls(name, workspace, spec)

    @property
    def prepared(self) -> BackboneSpec:
        """What is stored."""
        return self.spec

    @property
    def fixed(self) -> str:
        """What is stored only embeds."""
        assert self.spec.tuning is not None
        return f"begin with {self.spec.tuning.base}, from which it was made"

    def identity(self) -> str:
        """Its fingerprint."""
        return self.spec.fingerprint

    def save(self, to: Path) -> Saved:
        """Copy the SavedModel."""
        files = store.local_files(self.workspace, self.spec.fingerprint)
        shutil.copytree(files / TENSORFLOW, to / TENSORFLOW)
        return Saved(
            weights_sha256=self.spec.fingerprint,
            graph="tuned",
            taps="",
            height=self.spec.height,
            width=self.spec.width,
            embedding_size=self.spec.embedding_size,
            licence=self.spec.licence,
            tuning=self.spec.tuning,
        )
