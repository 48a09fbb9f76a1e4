from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from linnaeus.datasets.splitting import stratified_test_rows


@given(strata=st.lists(st.sampled_from("abc")), seed=st.integers(0, 5))
def test_every_stratum_gives_its_share(strata: list[str], seed: int):
    test = stratified_test_rows(strata, 0.25, seed)
    drawn = Counter(strata[row] for row in test)
    assert drawn == Counter({s: round(n / 4) for s, n in Counter(strata).items() if round(n / 4)})


def test_the_draw_depends_on_the_seed_alone():
    strata = ["a", "b"] * 50
    assert stratified_test_rows(strata, seed=1) == stratified_test_rows(strata, seed=1)
    assert stratified_test_rows(strata, seed=1) != stratified_test_rows(strata, seed=2)
