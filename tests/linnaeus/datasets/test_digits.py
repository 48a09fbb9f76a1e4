from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from linnaeus.datasets import DATASETS

pytestmark = pytest.mark.slow


def test_every_digit_is_a_png_that_keeps_its_pixels():
    from sklearn.datasets import load_digits

    digits = load_digits()
    samples = list(DATASETS["digits"].samples())
    assert [sample.label for sample in samples] == [str(target) for target in digits.target]
    assert len({sample.name for sample in samples}) == DATASETS["digits"].images
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(sample.data))) for sample in samples])
    np.testing.assert_array_equal(np.rint(pixels / 255 * 16), digits.images)


def test_a_quarter_of_each_digit_is_held_out():
    samples = list(DATASETS["digits"].samples())
    totals = Counter(sample.label for sample in samples)
    held_out = Counter(sample.label for sample in samples if sample.split == "test")
    assert held_out == {label: round(total / 4) for label, total in totals.items()}
