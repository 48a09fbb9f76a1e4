"""A plane in which pictures with similar embeddings lie near each other."""

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError

POINTS = 1_200
DIMENSIONS = 50
FEWEST_FOR_NEIGHBOURS = 30


def layout_map(embeddings: NDArray[np.float32], seed: int = 0) -> NDArray[np.float64]:
    """Positions [n, 2] within 0 to 1 of embeddings [n, D], the same ones for the same input.

    t-SNE (van der Maaten, Hinton 2008) of the principal components; those alone where pictures
    are few, or all alike.
    """
    components = principal_components(embeddings, DIMENSIONS)
    if len(components) < FEWEST_FOR_NEIGHBOURS or not components[:, 0].std():
        return _within_unit(components[:, :2])
    return _within_unit(_neighbours_kept(components, seed))


def _neighbours_kept(components: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError as e:
        raise ConfigurationError(
            "maps need scikit-learn, which is not installed: pip install 'linnaeus[report]'"
        ) from e
    perplexity = min(30.0, len(components) / 4)
    # Threads that wait for each other busily: beside other work, one alone is many times faster.
    with threadpool_limits(1):
        found = TSNE(2, init="pca", perplexity=perplexity, random_state=seed)
        positions: NDArray[np.float32] = found.fit_transform(components)
    return positions


def principal_components(embeddings: NDArray[np.float32], most: int) -> NDArray[np.float64]:
    """The rows in the directions of most variance: [n, at most `most`], two at least."""
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    components = (left * scale)[:, :most]
    missing = max(0, 2 - components.shape[1])
    return np.pad(components, ((0, 0), (0, missing)))


def _within_unit(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Moved and scaled, each axis by itself; the middle where an axis has no extent."""
    low, extent = positions.min(axis=0), np.ptp(positions, axis=0)
    flat = extent <= 1e-9 * max(1.0, float(np.abs(positions).max()))
    scaled = (positions - low) / np.where(flat, 1, extent)
    return np.where(flat, 0.5, scaled).astype(np.float64)
