"""Golden images: pictures that ship with a model, and what a worker once said of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from linnaeus.documents import Document
from linnaeus.errors import ConfigurationError
from linnaeus.models.description import Model
from linnaeus.storage import Folder

FOLDER, GOLDEN_INDEX = "golden", "golden.json"
MOST_RELATIVE = 1e-4
"""How far apart two float32 engines' values of one embedding may be, as a share of the largest."""
SMALLEST_SCORE = float(np.finfo(np.float32).tiny)
"""Below it float32 has fewer digits, and on some processors none."""
_REMEDY = "train the model anew, or score with --no-skew-gate"


@dataclass(frozen=True)
class GoldenImage:
    """One picture with what was computed of it, by the worker's decoder, engine and the head."""

    name: str
    data: bytes
    """The encoded file."""
    embedding: NDArray[np.float32]
    """[D]"""
    scores: NDArray[np.float32]
    """[C], in the order of the model's labels."""
    rounding: float = 0.0
    """What arithmetic alone may do to a logarithm of the scores of this very embedding."""
    sensitivity: NDArray[np.float64] | float = 0.0
    """[C], the root mean square of what an embedding of another engine does to each of them."""


@dataclass(frozen=True)
class GoldenRecord:
    """What a worker said of one picture; its arrays as lists."""

    file: str
    label: str
    labels: Sequence[str]
    scores: Sequence[float]
    rounding: float
    sensitivity: Sequence[float]
    embedding: Sequence[float]


@dataclass(frozen=True)
class GoldenIndex(Document, remedy=_REMEDY):
    """What `golden.json` says: the model's labels, in the order of the scores, and its pictures."""

    labels: Sequence[str]
    images: Sequence[GoldenRecord]


def logarithms(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """A head is sure of drawings that no training saw: only the exponents still tell its inputs."""
    return np.asarray(np.log(np.maximum(scores, SMALLEST_SCORE), dtype=np.float64))


def load(workspace: Folder, model: Model) -> list[GoldenImage]:
    """A version's golden images.

    Raises:
        ConfigurationError: the version has none.
        StorageError: they cannot be read.
    """
    return list(_load(workspace, model))


def _load(workspace: Folder, model: Model) -> Iterator[GoldenImage]:
    folder = f"{model.prefix}/{FOLDER}"
    where = f"{folder}/{GOLDEN_INDEX}"
    index = GoldenIndex.read_or_none(workspace, where)
    if index is None:
        raise ConfigurationError(
            f"{model.name}:{model.version} has no golden images to compare a server by "
            f"({workspace.uri_of(where)}); {_REMEDY}"
        )
    for one in index.images:
        yield GoldenImage(
            name=one.file,
            data=workspace.read(f"{folder}/{one.file}"),
            embedding=np.array(one.embedding, np.float32),
            scores=np.array(one.scores, np.float32),
            rounding=one.rounding,
            sensitivity=np.array(one.sensitivity, np.float64),
        )
