"""Compaction: many small parts of a table become few large ones, with the same rows.

One merge is one commit, so an interruption costs at most one. Whoever loses a race has written a
part for nothing, and nobody has lost a row: see `Table.merge`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from linnaeus.compaction_policy import ON_DEMAND, Policy, next_group
from linnaeus.leases import Lease, LeaseLost, leased
from linnaeus.merging import write_merged
from linnaeus.parts import Part
from linnaeus.tables import PartsGone, Table


@dataclass(frozen=True)
class Compaction:
    """What became of a table."""

    table: str
    parts_before: int
    parts_after: int
    rows: int
    rewritten_bytes: int = 0
    repeats_dropped: int = 0
    """Rows of contents that other rows had."""
    busy: bool = False
    """Whether another process was at it, so that nothing was done here."""


def compact(
    table: Table, policy: Policy = ON_DEMAND, budget_bytes: int | None = None
) -> Compaction | None:
    """Merge the parts of a table as the policy has it.

    Args:
        table: of parts that runs added; not the current labels, which are replaced whole.
        policy: which parts, and into how large ones.
        budget_bytes: no merge is begun once so much was rewritten; None: no bound.

    Returns:
        What was done; None if there is no such table.

    Raises:
        StorageError: the table cannot be read or written. Every merge until then stays.
    """
    before = _live(table)
    if before is None:
        return None
    if not next_group(before, policy):
        return _described(table, before, before)
    with leased(table.workspace, f"compaction/{table.key}") as lease:
        if lease is None:
            return _described(table, before, before, busy=True)
        merges = list(_merges(table, policy, budget_bytes, lease))
    return _described(table, before, _live(table) or [], merges)


def is_due(table: Table, policy: Policy) -> bool:
    """Whether there is something to merge."""
    return bool(next_group(_live(table) or [], policy))


@dataclass(frozen=True)
class Merge:
    """Parts and the one that has their rows, but for contents that come twice."""

    group: Sequence[Part]
    merged: Part

    @property
    def size_bytes(self) -> int:
        """What was rewritten."""
        return sum(part.size_bytes for part in self.group)

    @property
    def repeats(self) -> int:
        """Rows that were left out."""
        return sum(part.rows for part in self.group) - self.merged.rows


def _merges(table: Table, policy: Policy, budget: int | None, lease: Lease) -> Iterator[Merge]:
    done_bytes = 0
    while budget is None or done_bytes < budget:
        group = next_group(_live(table) or [], policy)
        if not group:
            return
        try:
            lease.renew()
            merge = Merge(group, write_merged(table, group))
            lease.renew()
        except LeaseLost:
            return
        if commit(table, merge):
            done_bytes += merge.size_bytes
            yield merge


def commit(table: Table, merge: Merge) -> bool:
    """Put a merged part in its place; False if another process was faster.

    The part that lost stays until vacuum: whether it was never committed, or was and is merged
    again already, cannot be told apart.
    """
    try:
        table.merge(merge.group, merge.merged)
    except PartsGone:
        return False
    return True


def _live(table: Table) -> list[Part] | None:
    snapshot = table.load()
    return None if snapshot is None else table.parts(snapshot)


def _described(
    table: Table,
    before: Sequence[Part],
    after: Sequence[Part],
    merges: Sequence[Merge] = (),
    *,
    busy: bool = False,
) -> Compaction:
    return Compaction(
        table.key,
        len(before),
        len(after),
        sum(part.rows for part in after),
        sum(merge.size_bytes for merge in merges),
        sum(merge.repeats for merge in merges),
        busy,
    )
