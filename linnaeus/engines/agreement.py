"""How close the vectors of a reduced precision stay to those of float32."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """How close vectors of a reduced precision are to those of float32, over images."""

    cosine_min: float
    cosine_mean: float
    max_abs: float
    """The largest difference of any one value."""
    images: int


def agreement(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> Agreement:
    """Compare float32 `[N, D]` with `[N, D]`, row by row; N at least 1.

    Two vectors of zeros agree; a vector of zeros has cosine 0 with any other.
    """
    products = np.einsum("nd,nd->n", reference, candidate, dtype=np.float64)
    lengths = np.linalg.norm(reference.astype(np.float64), axis=1)
    lengths *= np.linalg.norm(candidate.astype(np.float64), axis=1)
    same = np.all(reference == candidate, axis=1)
    cosines = np.where(same, 1.0, products / np.maximum(lengths, np.finfo(np.float64).tiny))
    return Agreement(
        cosine_min=float(cosines.min()),
        cosine_mean=float(cosines.mean()),
        max_abs=float(np.abs(reference - candidate).max()),
        images=len(reference),
    )
