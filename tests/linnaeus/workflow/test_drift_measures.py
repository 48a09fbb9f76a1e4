"""Drift, held against brute force on all values at once."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.workflow.drift.measures import (
    LEAST_IMAGES,
    Moments,
    embedding_drift,
    label_drift,
    moments,
)

seeds = st.integers(0, 2**32 - 1)


def brute_force(scored, training):
    radius = math.sqrt(training.var(axis=0).sum())
    shift = np.linalg.norm(scored.mean(axis=0) - training.mean(axis=0))
    growth = np.linalg.norm(scored.std(axis=0) - training.std(axis=0))
    return math.hypot(shift, growth) / radius


@given(seeds, st.lists(st.integers(0, 40), min_size=1, max_size=6), st.floats(-1e3, 1e3))
@settings(max_examples=40, deadline=None)
def test_moments_of_blocks_are_those_of_all_rows(seed, sizes, offset):
    rows = np.random.default_rng(seed).normal(offset, 2, (sum(sizes), 3)).astype(np.float32)
    found = moments(np.split(rows, np.cumsum(sizes)[:-1]))
    assert found.count == len(rows)
    if len(rows):
        np.testing.assert_allclose(found.mean, rows.astype(float).mean(axis=0), rtol=1e-12)
        variance = rows.astype(float).var(axis=0)
        np.testing.assert_allclose(found.variance, variance, rtol=1e-9, atol=1e-12)


@given(seeds, st.integers(LEAST_IMAGES, 200), st.floats(0, 3), st.floats(0.2, 4))
@settings(max_examples=40, deadline=None)
def test_the_distance_is_that_of_brute_force(seed, count, shift, growth):
    generator = np.random.default_rng(seed)
    training = generator.normal(5, 2, (100, 7))
    scored = generator.normal(5 + shift, 2 * growth, (count, 7))
    found = embedding_drift(moments([scored]), moments([training]))
    assert found.distance == pytest.approx(brute_force(scored, training), rel=1e-9)
    assert found.drift**2 == pytest.approx(
        max(0, found.distance**2 - found.by_chance**2), abs=1e-12
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_embedding_that_is_not_finite_hides_no_drift_of_the_others(bad):
    generator = np.random.default_rng(0)
    training, scored = generator.normal(3, 1, (200, 4)), generator.normal(9, 1, (100, 4))
    sound = embedding_drift(moments([scored]), moments([training]))
    broken = np.vstack([scored, [[3, bad, 3, 3]]])
    assert embedding_drift(moments([broken]), moments([training])) == sound
    assert sound.level == "large"


@pytest.mark.parametrize("count", [60, 400, 5000])
def test_images_of_the_same_kind_have_not_drifted(count):
    generator = np.random.default_rng(0)
    training, scored = generator.normal(3, 1, (2000, 64)), generator.normal(3, 1, (count, 64))
    found = embedding_drift(moments([scored]), moments([training]))
    assert found.level == "none" and found.drift < 0.1
    assert found.distance == pytest.approx(found.by_chance, rel=0.15)


@pytest.mark.parametrize(("shift", "level"), [(0.1, "none"), (0.35, "some"), (1.0, "large")])
def test_a_shift_is_said_in_radii_whatever_the_scale(shift, level):
    generator = np.random.default_rng(0)
    scale = np.array([1e-3, 1, 1e3, 0])
    training = generator.normal(0, 1, (5000, 4)) * scale
    moved = np.array([0, 0, shift, 0])
    scored = (generator.normal(0, 1, (5000, 4)) + moved) * scale
    found = embedding_drift(moments([scored]), moments([training]))
    assert found.drift == pytest.approx(shift, abs=0.05)
    assert found.level == level


def test_too_few_images_say_nothing():
    rows = np.random.default_rng(0).normal(size=(LEAST_IMAGES, 3))
    few, enough = moments([rows[1:]]), moments([rows])
    for pair in ((few, enough), (enough, few), (moments([]), enough)):
        found = embedding_drift(*pair)
        assert (found.level, found.distance, found.drift) == ("too few", None, None)
    alike = Moments(100, np.ones(2), np.zeros(2))
    assert embedding_drift(enough, alike).level == "too few"


counts = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5000), max_size=4)


@given(counts, counts)
@settings(max_examples=80, deadline=None)
def test_the_stability_index_is_that_of_its_definition(scored, training):
    found = label_drift(scored, training)
    labels = sorted({*scored, *training})
    n, m = sum(scored.values()), sum(training.values())
    if min(n, m) < LEAST_IMAGES or (len(labels) - 1) * (1 / n + 1 / m) > 0.1:
        assert (found.level, found.stability_index) == ("too few", None)
        return
    index = distance = 0.0
    for label in labels:
        p = (scored.get(label, 0) + 0.5) / (n + 0.5 * len(labels))
        q = (training.get(label, 0) + 0.5) / (m + 0.5 * len(labels))
        index += (p - q) * math.log(p / q)
        distance += abs(scored.get(label, 0) / n - training.get(label, 0) / m) / 2
    assert found.stability_index == pytest.approx(index, abs=1e-12)
    assert found.total_variation == pytest.approx(distance, abs=1e-12)


def test_what_moved_most_comes_first():
    found = label_drift({"cat": 600, "dog": 300, "owl": 100}, {"cat": 300, "dog": 600, "emu": 100})
    assert found.level == "large"
    assert [(one.label, one.share, one.reference_share) for one in found.movers] == [
        ("cat", 0.6, 0.3),
        ("dog", 0.3, 0.6),
        ("emu", 0.0, 0.1),
    ]


def test_equal_shares_have_not_moved():
    found = label_drift({"cat": 100, "dog": 100}, {"cat": 1000, "dog": 1000})
    assert (found.level, found.drift, found.movers) == ("none", 0.0, ())


def test_chance_is_taken_off():
    generator = np.random.default_rng(1)
    drawn = [generator.multinomial(200, np.full(10, 0.1)) for _ in range(200)]
    training = dict.fromkeys("abcdefghij", 10_000)
    found = [label_drift(dict(zip(training, map(int, d), strict=True)), training) for d in drawn]
    mean = np.mean([one.stability_index for one in found])
    assert mean == pytest.approx(found[0].by_chance, rel=0.15)
    assert all(f.level == "none" for f in found)


@pytest.mark.slow
def test_real_pictures_drift_as_the_page_says():
    from sklearn.datasets import load_digits

    vectors, digits = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    order = generator.permutation(len(vectors))
    vectors, digits = vectors[order].astype(np.float32), digits[order]
    trained, new, labels = moments([vectors[:900]]), vectors[900:], digits[900:]
    moved = np.roll(new.reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64)
    seen = {
        "the other 897": new,
        "60 of them": new[:60],
        "only the digits 0 to 4": new[labels < 5],
        "only 0 and 1": new[labels < 2],
        "with noise of an eighth of the range": new + generator.normal(0, 2, new.shape),
        "at 0.7 of the brightness": new * 0.7,
        "moved by a pixel of eight": moved,
    }
    page = (Path(__file__).parents[3] / "docs/how-to/notifications.md").read_text()
    for name, rows in seen.items():
        found = embedding_drift(moments([rows]), trained)
        said, level = re.search(rf"\| {name} \| ([\d.]+) \| (\w+)", page).groups()
        assert found.drift == pytest.approx(float(said), abs=0.01), name
        assert found.level == level
    some = {str(digit): int((labels == digit).sum()) for digit in range(5)}
    everything = {str(digit): int((digits[:900] == digit).sum()) for digit in range(10)}
    assert label_drift(some, everything).level == "large"
