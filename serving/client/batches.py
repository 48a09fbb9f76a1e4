"""Rows cut into requests of at most so many rows and bytes."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

K = TypeVar("K")
Value = bytes | NDArray[np.generic]


def batches(
    rows: Iterable[tuple[K, Value]], max_rows: int, max_bytes: int
) -> Iterator[list[tuple[K, Value]]]:
    """Group rows in their order, lazily; a row above `max_bytes` goes alone."""
    batch: list[tuple[K, Value]] = []
    batch_bytes = 0
    for key, value in rows:
        size = value_bytes(value)
        if batch and (len(batch) == max_rows or batch_bytes + size > max_bytes):
            yield batch
            batch, batch_bytes = [], 0
        batch.append((key, value))
        batch_bytes += size
    if batch:
        yield batch


def value_bytes(value: Value) -> int:
    """How long a row is in a request, but for a few bytes of framing."""
    return len(value) if isinstance(value, bytes) else value.nbytes
