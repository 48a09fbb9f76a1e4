"""A plan: a manifest held against the tables, and what is to do frozen in shards.

The file `plan.parquet` has one row group a shard and the run's description in its metadata, so a
worker needs only (run, shard) to find its work.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from linnaeus import images, layout
from linnaeus.documents import Document, intact
from linnaeus.records import (
    ObjectReference,
)
from linnaeus.storage import Folder

PLAN = pa.schema(
    [
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("size", pa.int64()),
        ("attempt", pa.int32()),
        ("sha256", pa.string()),
        ("part", pa.string()),
        ("row", pa.int64()),
        ("embedded", pa.bool_()),
    ]
)

LARGE_RUN_OBJECTS = 1_000_000

STORED_SHARD_OBJECTS = 2_048


_REMEDY = "delete it and issue the run's command again"


@dataclass(frozen=True)
class RunSpec(Document, remedy=_REMEDY):
    """What a run is: everything that its workers and its commit need to know."""

    run_id: str
    job: str
    source: str
    manifest_id: str
    fingerprint: str
    model: str = ""
    model_version: int = 0
    payload: str = ""
    task: str = "single"
    """The model's."""
    planned: int = 0
    skipped: int = 0
    known_failures: int = 0
    shard_sizes: tuple[int, ...] = ()
    """Objects in each shard."""
    last_failure_at: str = ""
    """Time (ISO 8601) of the last failure that the plan read, or nothing."""
    trained_by: str = ""
    """`Model.identity`."""

    @property
    def computed_by(self) -> str:
        """Backbone or model that this run's predictions and failures are counted for."""
        return self.trained_by or (self.named if self.model else self.fingerprint)

    @property
    def named(self) -> str:
        """`NAME:VERSION` of its model."""
        return f"{self.model}:{self.model_version}"


@dataclass(frozen=True)
class PlannedObject:
    """One row of a plan.

    `part` and `row` say where this backbone's vector of content `sha256` lies, if it is stored. An
    object that is not embedded has probably that content: it was read for another backbone or
    payload, or an object of equal etag and size is embedded.
    """

    reference: ObjectReference
    sha256: str | None
    part: str | None
    row: int | None
    embedded: bool


@dataclass(frozen=True)
class ShardLimits:
    """At most this much in a shard."""

    shard_objects: int
    shard_bytes: int = 64 << 20

    @classmethod
    def for_run(cls, objects: int) -> "ShardLimits":
        """Small shards show progress and lose little; large ones keep 10^7 objects in few files."""
        return cls(2_000) if objects >= LARGE_RUN_OBJECTS else cls(256, shard_bytes=1 << 30)


def shard_starts(
    sizes: NDArray[np.int64], groups: NDArray[np.int64], limits: ShardLimits
) -> list[int]:
    """First rows of the shards over consecutive rows.

    Args:
        sizes: bytes of each row's object, int64 [n].
        groups: non-decreasing numbers, int64 [n]; rows of one group have equal etag and size and
            stay together, unless the group alone fills a shard.
        limits: a shard ends before it exceeds them, but has one row at least.
    """
    ends = np.cumsum(sizes)
    starts: list[int] = []
    start = 0
    while start < len(sizes):
        starts.append(start)
        before = ends[start] - sizes[start]
        by_bytes = int(np.searchsorted(ends, before + limits.shard_bytes, side="right"))
        end = min(start + limits.shard_objects, max(by_bytes, start + 1), len(sizes))
        if end < len(sizes):
            group_start = int(np.searchsorted(groups, groups[end]))
            end = group_start if group_start > start else end
        start = end
    return starts


def cut(rows: Iterable[pa.RecordBatch], limits: ShardLimits) -> Iterator[pa.Table]:
    """Cut a stream of rows (schema `PLAN`) into shards, wherever its batches end.

    Equal etags and sizes must follow each other: such rows stay together, so that equal content is
    computed once.
    """
    held = PLAN.empty_table()
    for batch in rows:
        held = pa.concat_tables([held, pa.Table.from_batches([batch])])
        # Of the last shard it is not known yet where it ends.
        *complete, last = [*_slices(held, limits)] or [held]
        yield from complete
        held = last
    if held.num_rows:
        yield held


def _slices(rows: pa.Table, limits: ShardLimits) -> Iterator[pa.Table]:
    sizes = np.asarray(rows["size"]).astype(np.int64)
    starts = shard_starts(sizes, _groups(rows), limits)
    for start, end in zip(starts, [*starts[1:], rows.num_rows], strict=True) if starts else ():
        yield rows.slice(start, end - start)


def _groups(rows: pa.Table) -> NDArray[np.int64]:
    if rows.num_rows == 0:
        return np.empty(0, np.int64)
    codes = np.asarray(rows["etag"].combine_chunks().dictionary_encode().indices)
    sizes = np.asarray(rows["size"])
    changes = (np.diff(codes) != 0) | (np.diff(sizes) != 0)
    return np.concatenate([[0], np.cumsum(changes)]).astype(np.int64)


class Draft:
    """A plan's file that nobody else can see yet; it is gone with this object.

    Args:
        spec: of the run, as far as it is known before its shards are.
        shards: tables with the schema `PLAN`. They are written as they come.
    """

    def __init__(self, spec: RunSpec, shards: Iterable[pa.Table]) -> None:
        self._folder = TemporaryDirectory(prefix="linnaeus-plan-")
        self.path = Path(self._folder.name) / "plan.parquet"
        self.new_objects = self.new_bytes = 0
        sizes = []
        with pq.ParquetWriter(self.path, PLAN, compression="zstd") as writer:
            for shard in shards:
                writer.write_table(shard, row_group_size=max(shard.num_rows, 1))
                sizes.append(shard.num_rows)
                new = shard.filter(pc.invert(shard["embedded"]))
                self.new_objects += new.num_rows
                self.new_bytes += pc.sum(new["size"]).as_py() or 0
            self.spec = replace(spec, planned=sum(sizes), shard_sizes=tuple(sizes))
            writer.add_key_value_metadata({"run": self.spec.to_json()})

    def shards(self) -> Iterator[pa.Table]:
        """The shards, read one at a time."""
        with pq.ParquetFile(self.path) as file:
            for number in range(file.num_row_groups):
                yield file.read_row_group(number)


@lru_cache(maxsize=4)
def _metadata(workspace_uri: str, run_id: str) -> pq.FileMetaData:
    workspace = Folder(workspace_uri)
    with _intact(workspace, run_id), workspace.open(layout.plan(run_id)) as file:
        return pq.read_metadata(file)


def _intact(workspace: Folder, run_id: str) -> AbstractContextManager[None]:
    return intact(workspace.uri_of(layout.plan(run_id)), _REMEDY)


def read_spec(workspace: Folder, run_id: str) -> RunSpec:
    """The run's description."""
    with _intact(workspace, run_id):
        text = _metadata(workspace.uri, run_id).metadata[b"run"]
    return RunSpec.from_json(text, workspace.uri_of(layout.plan(run_id)))


def read_shard(workspace: Folder, run_id: str, shard: int) -> list[PlannedObject]:
    """A shard's objects."""
    metadata = _metadata(workspace.uri, run_id)
    with workspace.open(layout.plan(run_id)) as file:
        rows = pq.ParquetFile(file, metadata=metadata).read_row_group(shard)
    columns = [rows[name].to_pylist() for name in PLAN.names]
    return [
        PlannedObject(ObjectReference(uri, etag, size, attempt), *known)
        for uri, etag, size, attempt, *known in zip(*columns, strict=True)
    ]


@dataclass(frozen=True)
class RunPlan:
    """What a run of a job would do."""

    draft: Draft
    follows: int
    """Number of the job's newest run that was committed before the tables were read, or 0."""

    @property
    def spec(self) -> RunSpec:
        """The run."""
        return self.draft.spec


def decoder_of(run: RunSpec) -> str:
    """What judged a run's images: this package's decoder, after the server that got their bytes."""
    served = f"served {run.computed_by};" if run.payload == "image" else ""
    return served + images.decoder_version()
