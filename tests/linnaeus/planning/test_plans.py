from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus import layout
from linnaeus.planning import RunSpec, plans
from linnaeus.planning.plans import PLAN, ShardLimits, cut, shard_starts
from linnaeus.storage import Folder


@given(
    rows=st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60),
    objects=st.integers(1, 9),
    size_bytes=st.integers(1, 120),
)
def test_shards_keep_their_limits_and_cut_no_group_that_fits(rows, objects, size_bytes):
    sizes = np.array([size for size, _ in rows], np.int64)
    groups = np.cumsum(np.array([new for _, new in rows], np.int64))
    limits = ShardLimits(objects, size_bytes)
    found = shard_starts(sizes, groups, limits)
    assert found[:1] == ([0] if rows else [])
    ends = [*found[1:], len(rows)] if rows else []
    for start, end in zip(found, ends, strict=True):
        assert 1 <= end - start <= objects
        assert end - start == 1 or sizes[start:end].sum() <= size_bytes
        if end < len(rows) and groups[end] == groups[end - 1]:
            assert groups[start] == groups[end], "a group is cut though it would fit the next shard"


def planned(rows):
    columns = dict.fromkeys(PLAN.names)
    return pa.Table.from_pylist([{**columns, **row} for row in rows], schema=PLAN)


@given(
    etags=st.lists(st.integers(1, 9), max_size=8),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    objects=st.integers(1, 9),
)
def test_shards_do_not_depend_on_the_batches_that_rows_come_in(etags, cuts, objects):
    names = [f"e{i}" for i, n in enumerate(etags) for _ in range(n)]
    table = planned(
        {"uri": f"/{i:02d}", "etag": etag, "size": 1, "attempt": 1, "embedded": False}
        for i, etag in enumerate(names)
    )
    ends = sorted({min(end, len(table)) for end in cuts} | {0, len(table)})
    batches = [
        batch
        for start, end in pairwise(ends)
        for batch in table.slice(start, end - start).to_batches()
    ]
    limits = ShardLimits(objects)
    shards = list(cut(iter(batches), limits))
    groups = np.array([names.index(name) for name in names], np.int64)
    starts = shard_starts(np.ones(len(names), np.int64), groups, limits)
    assert [shard.num_rows for shard in shards] == np.diff([*starts, len(names)]).tolist()
    assert [uri for shard in shards for uri in shard["uri"].to_pylist()] == table["uri"].to_pylist()


def test_a_shard_reads_back_as_it_was_planned(workspace: Folder):
    rows = planned(
        {"uri": f"/{i}", "etag": f"{i:05d}", "size": 9, "attempt": 2, "embedded": i < 100}
        for i in range(600)
    )
    spec = RunSpec("01RUN", "embed", "/images", "m-1", "f00", skipped=7)
    draft = plans.Draft(spec, cut(iter(rows.to_batches()), ShardLimits(256)))
    assert (draft.spec.planned, draft.spec.shard_sizes) == (600, (256, 256, 88))
    assert (draft.new_objects, draft.new_bytes) == (500, 4500)
    assert pa.concat_tables(draft.shards()).equals(rows)
    workspace.write_new_file(layout.plan("01RUN"), draft.path)
    assert plans.read_spec(workspace, "01RUN") == draft.spec
    read = [plans.read_shard(workspace, "01RUN", number) for number in range(3)]
    assert [len(shard) for shard in read] == [256, 256, 88]
    assert read[1][0].reference.uri == "/256"
    assert read[1][0].reference.attempt == 2


def test_a_plan_with_nothing_to_do_has_no_shards():
    draft = plans.Draft(RunSpec("01RUN", "embed", "/images", "m-1", "f00"), cut([], ShardLimits(9)))
    assert (draft.spec.planned, draft.spec.shard_sizes, list(draft.shards())) == (0, (), [])


@pytest.mark.parametrize(("objects", "shard_objects"), [(10, 256), (999_999, 256), (10**6, 2000)])
def test_large_runs_have_large_shards(objects, shard_objects):
    assert ShardLimits.for_run(objects).shard_objects == shard_objects
