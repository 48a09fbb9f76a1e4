"""A family of backbones: how its networks are named, what it brings of them, what comes of them.

A name is NETWORK[@SIZE][+mid][?weights=FILE], unless a family reads names in a way of its own.
"""

import difflib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal, Protocol
from urllib.parse import parse_qsl

from linnaeus.backbones.spec import BackboneSpec, Tuning
from linnaeus.backbones.trainable import Extent, Trainable
from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder

TENSORFLOW: Final = "tensorflow"
"""Folder of the SavedModel, below the backbone's."""
MIDDLE = "mid"
WEIGHTS = "weights"
SMALLEST_SIZE = 1
LARGEST_SIZE = 4096

_NAME = re.compile(
    r"(?P<network>[^@+?]+)(?:@(?P<size>[^@+?]*))?(?:\+(?P<taps>[^@+?]*))?(?:\?(?P<query>.*))?"
)


@dataclass(frozen=True)
class BackboneName:
    """A name taken apart."""

    family: "type[Family]"
    network: str
    """The network alone: `vgg16`, a handle, an absolute folder, or `tuned:FINGERPRINT`."""
    size: int | None = None
    """Height and width of the input in pixels; None for the network's own."""
    middle: bool = False
    """Whether pooled middle layers are added."""
    weights: Path | None = None
    """A local file of weights in place of the published ones."""

    def __str__(self) -> str:
        """The canonical name: equal names give equal networks."""
        size = "" if self.size is None else f"@{self.size}"
        taps = f"+{MIDDLE}" if self.middle else ""
        weights = "" if self.weights is None else f"?{WEIGHTS}={self.weights}"
        return f"{self.network}{size}{taps}{weights}"


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
        """Write the files of one engine or more into `to/<engine>`."""


@dataclass(frozen=True)
class Family(ABC):
    """A named network that may not be prepared yet; its class is the family."""

    name: BackboneName

    key: ClassVar[str]
    """By which a workspace's index tells it from other families; stays as it is."""
    licence: ClassVar[str]
    """Of its weights, in a line."""
    networks: ClassVar[tuple[str, ...]] = ()
    """Its networks' names."""
    others: ClassVar[str] = ""
    """What a person may write, where they are not known beforehand."""
    prefix: ClassVar[str] = ""
    """May stand before them."""
    takes_weights: ClassVar[bool] = False
    """Whether a name may end in `?weights=FILE`."""
    brings: ClassVar[tuple[Literal["openvino", "litert", "tensorflow"], ...]] = (TENSORFLOW,)
    """The engines whose files `save` writes; the others' are made of a SavedModel alone.

    A model can be trained and exported if TensorFlow's are among them, for its graph is made of
    the backbone's; of other backbones there are embeddings.
    """

    @classmethod
    def parse(cls, text: str) -> BackboneName | None:
        """Take a name of this family apart; None where it is of another one.

        Raises ConfigurationError for a wrong size, wrong taps or wrong weights.
        """
        match = _NAME.fullmatch(text)
        network = match["network"].removeprefix(cls.prefix) if match else ""
        if match is None or network not in cls.networks:
            return None
        taps, query = match["taps"], match["query"]
        if taps not in (None, MIDDLE):
            raise ConfigurationError(
                f"Backbone {text!r}: +{taps} is unknown, did you mean +{MIDDLE}?"
            )
        size = None if match["size"] is None else parse_size(text, match["size"])
        given = dict(parse_qsl(query, keep_blank_values=True))
        if query is not None and not (
            cls.takes_weights and [*given] == [WEIGHTS] and given[WEIGHTS]
        ):
            remedy = f"did you mean ?{WEIGHTS}=FILE?" if cls.takes_weights else "leave it out."
            raise ConfigurationError(f"Backbone {text!r}: ?{query} is unknown, {remedy}")
        weights = absolute(given[WEIGHTS]) if given else None
        return BackboneName(cls, network, size, taps is not None, weights)

    @classmethod
    def of(cls, workspace: Folder, name: BackboneName) -> "Family":
        """The network of that name, for a workspace."""
        del workspace
        return cls(name)

    @property
    def prepared(self) -> BackboneSpec | None:
        """Itself, where it is a backbone of the workspace to begin with."""
        return None

    @property
    def fixed(self) -> str:
        """Why it cannot be trained on, with a remedy, where its class is no `TrainableFamily`."""
        return "its network only embeds, begin with one such as efficientnet-lite0"

    @abstractmethod
    def identity(self) -> str:
        """What tells it from all others of its family, but for size and taps.

        Found without TensorFlow and without a download: a content hash where the weights are at
        hand or pinned; else the handle, which by convention never changes its content.
        """

    @abstractmethod
    def save(self, to: Path) -> Saved:
        """Write the files of each engine that it `brings` into `to/<engine>`.

        All take uint8 `[N, H, W, 3]` and give float32 `[N, D]`: the SavedModel that
        `families.saved_model` writes, OpenVINO's `model.xml` (read from ONNX, perhaps), LiteRT's
        `model.tflite`.
        """


class TrainableFamily(Family):
    """One whose networks can be trained on."""

    @abstractmethod
    def trainable(self, extent: Extent) -> Trainable:
        """The network with its weights in memory; raises ConfigurationError if it has none."""


def parse_size(text: str, size: str) -> int:
    """The input size in a name's text, in pixels."""
    if not size.isascii() or not size.isdigit() or not SMALLEST_SIZE <= int(size) <= LARGEST_SIZE:
        raise ConfigurationError(
            f"Backbone {text!r}: @{size} is no input size, give pixels from "
            f"{SMALLEST_SIZE} to {LARGEST_SIZE}, such as @224."
        )
    return int(size)


def absolute(path: str) -> Path:
    """From home, if it is said to be; `~name` of nobody is a name like any other."""
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111 - pathlib raises then


def nearest(word: str, valid: Iterable[str]) -> str:
    """The valid word most like `word`."""
    return max(valid, key=lambda known: difflib.SequenceMatcher(None, word, known).ratio())
