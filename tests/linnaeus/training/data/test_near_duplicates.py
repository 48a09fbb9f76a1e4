from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.data.near_duplicates import groups, straddling, together
from linnaeus.training.heads.head import Standardisation

SPLITS = ("train", "validation", "test")


def clustered(seed: int, rows: int, size: int = 6) -> NDArray[np.float32]:
    """Rows around a few centres, so that many are similar and many are not."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(2, rows // 4), size))
    noise = rng.choice([0.02, 0.5], (rows, 1)) * rng.normal(size=(rows, size))
    return (centres[rng.integers(0, len(centres), rows)] + noise).astype(np.float32)


def cosines(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    scale = Standardisation.of(embeddings, np.ones(len(embeddings), np.float32))
    x = scale.apply(embeddings).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def labelled(embeddings: NDArray[np.float32], *sizes: int) -> LabelledEmbeddings:
    ends = np.cumsum(sizes).tolist()
    starts = [0, *ends[:-1]]
    rows = len(embeddings)
    names = pa.array([str(row) for row in range(rows)])
    examples = Examples(embeddings, np.zeros(rows, np.int64), np.ones(rows, np.float32))
    slices = dict(zip(SPLITS, map(slice, starts, ends), strict=True))
    return LabelledEmbeddings(examples, names, names, ("a", "b"), slices, {})


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(6, 60), st.floats(0.5, 0.95))
def test_groups_are_what_chains_of_similar_pairs_link(seed: int, rows: int, similarity: float):
    embeddings = clustered(seed, rows)
    similar = cosines(embeddings) >= similarity
    reached = np.eye(rows, dtype=bool)
    for _ in range(rows):
        reached = reached @ similar | reached
    numbers = groups(embeddings, similarity)
    assert np.array_equal(numbers[:, None] == numbers, reached)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6))
def test_a_held_out_picture_is_found_when_an_earlier_split_has_its_like(seed: int):
    embeddings = clustered(seed, 40)
    found = straddling(labelled(embeddings, 20, 10, 10), 0.9)
    like = cosines(embeddings)
    expected = {
        str(row): float(like[row, :start].max())
        for start, end in ((20, 30), (30, 40))
        for row in range(start, end)
        if like[row, :start].max() >= 0.9
    }
    assert found.looked_at == 20
    assert found.found == len(expected)
    told = {pair.held_out: pair.similarity for pair in found.pairs}
    assert told.keys() == expected.keys()
    assert np.allclose([told[key] for key in expected], list(expected.values()), atol=1e-3)


def test_copies_are_found_among_long_embeddings_too():
    """There they are compared by a random projection."""
    rng = np.random.default_rng(3)
    embeddings = rng.normal(size=(300, 1280)).astype(np.float32)
    embeddings[250] = embeddings[7] + 0.1 * rng.normal(size=1280)
    found = straddling(labelled(embeddings, 200, 50, 50))
    assert [(pair.held_out, pair.other) for pair in found.pairs] == [("250", "7")]
    assert (found.pairs[0].split, found.pairs[0].other_split) == ("test", "train")


def test_a_group_follows_what_the_manifest_says_else_its_first_picture():
    assigned = pa.array(["train", "test", "validation", "test", "train", "test"])
    given_splits = pa.array([None, None, None, None, None, "test"], pa.string())
    numbers = np.array([0, 0, 1, 2, 2, 2], np.int32)
    assert together(assigned, given_splits, numbers).to_pylist() == [
        "train",
        "train",
        "validation",
        "test",
        "test",
        "test",
    ]


def test_a_picture_whose_split_is_given_keeps_it():
    assigned = pa.array(["train", "test"])
    numbers = np.zeros(2, np.int32)
    assert together(assigned, assigned, numbers).to_pylist() == ["train", "test"]
