"""What is known of a prepared backbone: the content of its `spec.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from linnaeus.augmentation_settings import Augmentation
from linnaeus.documents import Document


@dataclass(frozen=True)
class StoredFile:
    """One file of a backbone; `path` is relative to the folder of its files."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class View:
    """What makes a backbone a view: whose network it has, and how pictures are varied for it."""

    base: str
    """Fingerprint of the backbone whose network it is."""
    augmentation: Augmentation
    seed: int
    number: int
    """From 1; another number is another look at each picture."""


@dataclass(frozen=True)
class Tuning:
    """What makes a backbone a fine-tuned one: where it began, and what was done."""

    base: str
    """Name of the backbone that was trained on."""
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class BackboneSpec(Document, remedy="delete its folder and prepare it again", indent=2):
    """A backbone of a workspace: uint8 `[N, height, width, 3]` to float32 `[N, embedding_size]`.

    Equal fingerprints mean equal vectors, within the engines' tolerance, for equal bytes.
    """

    name: str
    """The canonical name it was asked by, such as `efficientnet-lite0@300+mid`."""
    fingerprint: str
    height: int
    width: int
    embedding_size: int
    precision: str
    """`float32`, `bfloat16` or `int8`."""
    licence: str
    preprocessing: str
    """`images.PREPROCESSING` when it was prepared."""
    folder: str = ""
    """Where its files are, below `backbones/<fingerprint>/`."""
    engines: Mapping[str, tuple[StoredFile, ...]] = field(default_factory=dict)
    """The files each engine needs, by `openvino`, `litert` and `tensorflow`."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Engines this network has no files for, with the reason in one line."""
    agreement: Mapping[str, float] = field(default_factory=dict)
    """How close a reduced precision comes to float32 on the user's pictures, where it was measured.

    `cosine_min` and `cosine_mean` over `images` pictures, and `max_abs`, the largest difference.
    """
    view: View | None = None
    """None for a backbone that sees pictures as they are."""
    tuning: Tuning | None = None
    """None for a network as it was published."""
