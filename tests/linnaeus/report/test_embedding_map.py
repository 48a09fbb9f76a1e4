"""The map keeps similar pictures together, whatever their vectors are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.report.embedding_map import layout_map, principal_components


@settings(deadline=None)
@given(st.integers(1, 29), st.integers(1, 40))
def test_few_pictures_lie_within_the_map(count: int, size: int):
    embeddings = np.random.default_rng(count).normal(size=(count, size)).astype(np.float32)
    positions = layout_map(embeddings)
    assert positions.shape == (count, 2)
    assert positions.min() >= 0
    assert positions.max() <= 1


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 20), st.integers(2, 20))
def test_principal_components_keep_distances(count: int, size: int):
    embeddings = np.random.default_rng(size).normal(size=(count, size)).astype(np.float32)
    components = principal_components(embeddings, 50)
    before = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    after = np.linalg.norm(components[:, None] - components[None], axis=2)
    np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize("count", [3, 40])
def test_pictures_that_are_all_alike_lie_in_the_middle(count: int):
    assert (layout_map(np.ones((count, 8), np.float32)) == 0.5).all()


@pytest.mark.slow
def test_neighbours_stay_neighbours():
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), 40)
    embeddings = (20 * np.eye(3, 30)[groups] + random.normal(size=(120, 30))).astype(np.float32)
    positions = layout_map(embeddings)
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (groups[distances.argmin(axis=1)] == groups).all()
    np.testing.assert_array_equal(layout_map(embeddings), positions)
