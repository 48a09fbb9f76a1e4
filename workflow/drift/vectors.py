"""Moments of stored embeddings of some contents: sampled where they are many, in little memory."""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from linnaeus.embeddings import EmbeddingTable, stored_vectors
from linnaeus.storage import Folder
from workflow.drift.measures import Moments, moments

SAMPLE = 10_000
"""Contents at most; their drift by chance is 0.02."""
_SEED = "drift"
_BLOCK_ROWS = 1_024


def sample(digests: Iterable[str], size: int = SAMPLE) -> list[str]:
    """At most so many of some contents, the same ones whatever their order, each once."""
    return heapq.nsmallest(size, set(digests), key=_order)


def _order(digest: str) -> str:
    return hashlib.md5(f"{_SEED} {digest}".encode(), usedforsecurity=False).hexdigest()


def stored_moments(workspace: Folder, fingerprint: str, digests: list[str]) -> Moments:
    """Moments of the vectors of contents; those that are not stored are left out.

    Raises:
        StorageError: the table cannot be read.
    """
    places = EmbeddingTable(workspace, fingerprint).find(digests)
    vectors = (vector for _, vector in stored_vectors(workspace, fingerprint, places))
    return moments(_blocks(vectors))


def _blocks(vectors: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    while block := list(islice(vectors, _BLOCK_ROWS)):
        yield np.stack(block)
