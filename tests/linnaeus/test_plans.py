import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus import layout, plans
from linnaeus.plans import PLAN, RunSpec, ShardLimits, shard_starts, split
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


def state(rows):
    columns = dict.fromkeys(PLAN.names)
    return pa.Table.from_pylist([{**columns, **row} for row in rows], schema=PLAN)


def test_equal_contents_lie_in_one_shard_whatever_their_names():
    rows = [
        {"uri": f"/{i:04d}", "etag": "same" if i % 100 == 0 else f"e{i}", "size": 1, "attempt": 1}
        for i in range(2000)
    ]
    shards = split(state([{**row, "embedded": False} for row in rows]))
    having = [i for i, shard in enumerate(shards) if "same" in shard["etag"].to_pylist()]
    assert len(having) == 1
    assert sum(shard.num_rows for shard in shards) == 2000


def test_stored_vectors_are_asked_for_part_by_part():
    rows = [
        {"uri": f"/{i}", "etag": f"e{i}", "size": 1, "attempt": 1, "sha256": "s", "part": part}
        for i, part in enumerate(["b", "a", "b", "a"])
    ]
    [shard] = split(state([{**row, "row": i, "embedded": True} for i, row in enumerate(rows)]))
    assert shard["part"].to_pylist() == ["a", "a", "b", "b"]


def test_a_shard_reads_back_as_it_was_planned(workspace: Folder):
    shards = split(
        state(
            {"uri": f"/{i}", "etag": f"{i:05d}", "size": 9, "attempt": 2, "embedded": False}
            for i in range(600)
        )
    )
    sizes = tuple(shard.num_rows for shard in shards)
    spec = RunSpec("01RUN", "embed", "/images", "m-1", "f00", planned=600, shard_sizes=sizes)
    workspace.write_new(layout.plan("01RUN"), plans.encode(spec, shards))
    assert plans.read_spec(workspace, "01RUN") == spec
    read = [plans.read_shard(workspace, "01RUN", number) for number in range(len(shards))]
    assert [len(shard) for shard in read] == list(sizes)
    assert read[1][0].reference.uri == f"/{sizes[0]}"
    assert read[1][0].reference.attempt == 2


@pytest.mark.parametrize(("objects", "shard_objects"), [(10, 256), (999_999, 256), (10**6, 2000)])
def test_large_runs_have_large_shards(objects, shard_objects):
    assert ShardLimits.for_run(objects).shard_objects == shard_objects
