import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus.training.heads.batches import BatchOrder, draw_balanced


@given(images=st.integers(1, 60), batch_size=st.integers(1, 70), seed=st.integers(0, 5))
def test_every_image_comes_once_an_epoch(images: int, batch_size: int, seed: int) -> None:
    batches = BatchOrder(np.zeros(images, np.int64), batch_size, "shuffled", seed)
    for epoch in range(2):
        steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        rows = [batches.rows(step) for step in steps]
        assert sorted(np.concatenate(rows)) == list(range(images))
        assert all(len(batch) == batch_size for batch in rows[:-1])


@pytest.mark.parametrize("sampling", ["shuffled", "balanced"])
def test_a_batch_depends_on_seed_and_step_only(sampling: str) -> None:
    targets = np.arange(100) % 3
    in_order = BatchOrder(targets, 8, sampling, 1)
    expected = [in_order.rows(step) for step in range(40)]
    for step in (30, 3, 15):
        assert np.array_equal(BatchOrder(targets, 8, sampling, 1).rows(step), expected[step])
        assert not np.array_equal(BatchOrder(targets, 8, sampling, 2).rows(step), expected[step])
    assert not np.array_equal(expected[0], expected[in_order.per_epoch])


def test_balanced_batches_are_full_and_have_every_label_equally_often() -> None:
    targets = np.repeat([0, 1, 3], [900, 90, 10])
    batches = BatchOrder(targets, 64, "balanced", 0)
    rows = np.concatenate([batches.rows(step) for step in range(4 * batches.per_epoch)])
    assert batches.per_epoch == 16
    assert len(rows) == 4 * 16 * 64
    shares = np.bincount(targets[rows], minlength=4) / len(rows)
    assert shares == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=0.03)


def test_a_balanced_draw_takes_each_image_of_a_label_equally_often() -> None:
    rows = draw_balanced(np.array([0, 1, 1, 0, 1]), 30_000, np.random.default_rng(0))
    assert np.bincount(rows) / len(rows) == pytest.approx(
        [1 / 4, 1 / 6, 1 / 6, 1 / 4, 1 / 6], abs=0.02
    )


def test_of_several_labels_an_image_comes_for_each_and_one_without_labels_never() -> None:
    targets = np.array([[1, 0], [1, 1], [0, 0]], np.uint8)
    rows = draw_balanced(targets, 30_000, np.random.default_rng(0))
    assert np.bincount(rows, minlength=3) / len(rows) == pytest.approx([1 / 4, 3 / 4, 0], abs=0.02)
