"""The tiers, held against a simulation that merges as the policy says."""

import math

from hypothesis import given
from hypothesis import strategies as st

from linnaeus.maintenance.compaction_policy import Policy, next_group
from linnaeus.tables import Part

POLICY = Policy(part_bytes=10_000, part_rows=10_000, fan_in=4)
ON_DEMAND = Policy(part_bytes=10_000, part_rows=10_000, fan_in=2, tiered=False)
rows_of_parts = st.lists(st.integers(1, 9_000), max_size=120)


class Store:
    """Parts of which each knows the parts it came from, and how often those were rewritten."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.parts: dict[str, Part] = {}
        self.origins: dict[str, list[int]] = {}
        self.rewrites: list[int] = []

    def _put(self, rows: int, origins: list[int], bytes_a_row: int) -> None:
        key = f"{len(self.origins):06d}"
        self.parts[key] = Part(key, rows * bytes_a_row, rows)
        self.origins[key] = origins

    def append(self, rows: int, bytes_a_row: int = 1) -> None:
        self.rewrites.append(0)
        self._put(rows, [len(self.rewrites) - 1], bytes_a_row)

    def merge_all(self) -> list[list[Part]]:
        groups = []
        while group := next_group(list(self.parts.values()), self.policy):
            groups.append(group)
            origins = [origin for part in group for origin in self.origins[part.key]]
            for origin in origins:
                self.rewrites[origin] += 1
            for part in group:
                del self.parts[part.key]
            rows, size = (sum(getattr(part, name) for part in group) for name in NUMBERS)
            self._put(rows, origins, size // rows)
        return groups


NUMBERS = ("rows", "size_bytes")


def tiers_up_to(rows: int, fan_in: int) -> int:
    return int(math.log(max(rows, 1), fan_in) + 1e-9) + 1


@given(rows_of_parts, st.sampled_from([2, 3, 4, 8]))
def test_each_part_is_rewritten_at_most_once_a_tier(sizes, fan_in):
    store = Store(Policy(part_bytes=10_000, part_rows=10_000, fan_in=fan_in))
    for rows in sizes:
        store.append(rows)
        store.merge_all()
    limit = tiers_up_to(store.policy.part_rows, fan_in) + 1
    assert max(store.rewrites, default=0) <= min(limit, tiers_up_to(sum(sizes), fan_in) + 1)
    assert sum(part.rows for part in store.parts.values()) == sum(sizes)


@given(rows_of_parts)
def test_parts_that_are_not_full_are_few(sizes):
    store = Store(POLICY)
    for rows in sizes:
        store.append(rows)
        store.merge_all()
    small = [part for part in store.parts.values() if not POLICY.is_full(part)]
    assert len(small) <= (POLICY.fan_in - 1) * tiers_up_to(POLICY.part_rows, POLICY.fan_in)


@given(rows_of_parts, st.integers(1, 10))
def test_no_merged_part_is_larger_than_agreed_and_no_full_one_is_merged(sizes, bytes_a_row):
    for policy in (POLICY, ON_DEMAND):
        store = Store(policy)
        for rows in sizes:
            store.append(rows, bytes_a_row)
        for group in store.merge_all():
            assert len(group) >= 2
            assert sum(part.rows for part in group) <= policy.part_rows
            assert sum(part.size_bytes for part in group) <= policy.part_bytes
            assert not any(policy.is_full(part) for part in group)


@given(rows_of_parts)
def test_on_demand_at_most_one_part_stays_small_and_none_is_rewritten_often(sizes):
    store = Store(ON_DEMAND)
    for rows in sizes:
        store.append(rows)
    store.merge_all()
    small = [part for part in store.parts.values() if not ON_DEMAND.is_full(part)]
    assert len(small) <= 1


def test_a_nightly_run_never_rewrites_a_large_table():
    store = Store(Policy())
    for _ in range(400):
        store.append(1_000_000, bytes_a_row=5_000)
    for _ in range(100):
        for _ in range(4):
            store.append(250, bytes_a_row=5_000)
        rewritten = sum(part.rows for group in store.merge_all() for part in group)
        assert rewritten <= 100_000


def test_the_oldest_parts_are_merged_first():
    parts = [Part(f"t/{name}", 1, 1) for name in "dbeca"]
    assert [p.key for p in next_group(parts, POLICY)] == ["t/a", "t/b", "t/c", "t/d", "t/e"]


def test_too_few_parts_are_left_alone():
    assert next_group([Part(f"t/{i}", 1, 1) for i in range(3)], POLICY) == []
    assert next_group([], POLICY) == []
