"""Which of a table's parts to merge next: size tiers, as log-structured stores have them.

Parts are sorted into tiers by their rows, each `fan_in` times as large as the one below. A full
tier is merged into one part of a higher tier, so a row is rewritten at most once a tier,
O(log n) times in all, and what a nightly run adds never costs rewriting the whole table.
The policy is the "size-tiered compaction" of O'Neil et al., "The Log-Structured Merge-Tree" (1996),
as Cassandra and Bigtable use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from linnaeus.tables import Part


@dataclass(frozen=True)
class Policy:
    """When parts are merged, and into how large ones."""

    part_bytes: int = 128 << 20
    """No merged part is longer, by the lengths of what it is merged from."""
    part_rows: int = 1 << 20
    fan_in: int = 8
    """So many parts of a tier are merged at once; it is the ratio of the tiers' sizes, too."""
    tiered: bool = True
    """False: all parts that are not full are of one tier."""

    def is_full(self, part: Part) -> bool:
        """Whether a part is left as it is for ever; any two that are not fit into one."""
        return 2 * part.size_bytes >= self.part_bytes or 2 * part.rows >= self.part_rows

    def tier(self, part: Part) -> int:
        """The part's tier: rounded down, the logarithm of its rows to the base `fan_in`."""
        tier, rows = 0, part.rows
        while self.tiered and rows >= self.fan_in:
            rows //= self.fan_in
            tier += 1
        return tier


AFTER_A_RUN = Policy()
ON_DEMAND = Policy(fan_in=2, tiered=False)


def next_group(parts: Sequence[Part], policy: Policy) -> list[Part]:
    """The parts to merge into one, oldest first; none where no tier is full.

    Merging the group and asking again ends after fewer merges than there are parts.
    """
    tiers: dict[int, list[Part]] = {}
    for part in sorted(parts, key=lambda part: part.key):
        if not policy.is_full(part):
            tiers.setdefault(policy.tier(part), []).append(part)
    full = (tiers[tier] for tier in sorted(tiers) if len(tiers[tier]) >= policy.fan_in)
    return _filling(next(full, []), policy)


def _filling(parts: Sequence[Part], policy: Policy) -> list[Part]:
    """As many of them as fit into one part."""
    group: list[Part] = []
    size_bytes = rows = 0
    for part in parts:
        size_bytes += part.size_bytes
        rows += part.rows
        if size_bytes > policy.part_bytes or rows > policy.part_rows:
            break
        group.append(part)
    return group
