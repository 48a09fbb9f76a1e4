from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.errors import ConfigurationError
from linnaeus.training.data.examples import Examples
from linnaeus.training.heads.weighting import balance, balanced
from tests.linnaeus.training.heads.rows import examples, labelled, of_several_labels


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.1, 5)), min_size=1, max_size=40))
def test_every_class_weighs_the_same_and_all_together_as_before(
    images: list[tuple[int, float]],
) -> None:
    label_ids = np.array([label for label, _ in images])
    weights = np.array([weight for _, weight in images], np.float32)
    found = balanced(Examples(np.zeros((len(images), 1), np.float32), label_ids, weights), 4)
    totals = np.bincount(label_ids, found.weights, 4)
    there = np.unique(label_ids)
    assert np.allclose(totals[there], weights.sum() / len(there), rtol=1e-4)
    assert found.weights.dtype == np.float32


def test_images_of_several_labels_cannot_be_balanced() -> None:
    with pytest.raises(ConfigurationError, match="one label an image"):
        balanced(of_several_labels(), 4)


def test_validation_follows_the_training_images_and_the_test_stays() -> None:
    rows = examples(images=90)
    data = labelled(replace(rows, weights=np.ones(90, np.float32)), 50, 20, 20)
    found = balance(data).rows.weights
    by_class = [np.unique(found[:70][rows.targets[:70] == label]) for label in range(3)]
    assert [len(values) for values in by_class] == [1, 1, 1]
    assert np.array_equal(found[70:], np.ones(20))
    assert np.array_equal(data.rows.weights, np.ones(90))
