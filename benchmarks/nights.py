"""A hundred nightly runs over one source, of which a thousand objects are replaced each night.

No picture is read: what workers would find out follows from an object's etag. Everything else is
what a nightly run does: plan against the tables, write parts, commit, tidy up.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from statistics import median
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import Measure, Readings, seconds_of
from benchmarks.setting import Setting
from linnaeus import jobs, maintenance
from linnaeus.manifests import Manifest
from linnaeus.planning import EmbedJob, Job, RunSpec, ScoreJob, plans
from linnaeus.progress import SILENT
from linnaeus.records import MANIFEST, Prediction
from linnaeus.storage import Folder
from linnaeus.tables import tables_in
from linnaeus.worker import Answer, Outcome, Worker, shards
from linnaeus.worker.rows import Results

NIGHTS = 100
REPLACED = 1_000
"""Objects whose content is another each night."""
OBJECTS = 200_000
SIZE = 32
"""Values of a vector: fewer than a backbone's, so that disks hold a hundred nights of them."""
SHOWN = (1, 10, 50, NIGHTS)
AROUND = 2
"""The time of a night is the median of it and so many nights on both sides."""
SOURCE = "/nightly"
JOBS = {
    "embed": EmbedJob("f0f0f0f0f0f0f0f0"),
    "score": ScoreJob("f0f0f0f0f0f0f0f0", "model", 1, "embedding"),
}
ANSWER = Prediction("a", 0.9, ["a"], ["a", "b"], [0.9, 0.1])


@dataclass(frozen=True)
class Bucket:
    """The objects of a source, each of which is known by how often it was replaced."""

    versions: np.ndarray

    def replaced(self, night: int) -> Bucket:
        """The next night: other objects are replaced each time."""
        versions = self.versions.copy()
        chosen = np.random.default_rng(night).choice(len(versions), REPLACED, replace=False)
        versions[chosen] += 1
        return Bucket(versions)

    def freeze(self, workspace: Folder, number: int) -> Manifest:
        """Write a manifest of it, as `manifests.freeze` does after listing."""
        manifest = Manifest(f"nightly-{number:08d}", SOURCE, number, len(self.versions))
        about = {"source": SOURCE, "number": str(number), "objects": str(manifest.objects)}
        sink = pa.BufferOutputStream()
        pq.write_table(self._rows().replace_schema_metadata(about), sink, compression="zstd")
        workspace.write(f"manifests/{manifest.id}.parquet", sink.getvalue().to_pybytes())
        return manifest

    def _rows(self) -> pa.Table:
        count = len(self.versions)
        uris = [f"{SOURCE}/{i:08d}.jpg" for i in range(count)]
        etags = [f"{i:x}-{version:x}" for i, version in enumerate(self.versions.tolist())]
        columns = {
            "source": pa.repeat(SOURCE, count),
            "uri": uris,
            "etag": etags,
            "size": pa.repeat(pa.scalar(60_000, pa.int64()), count),
        }
        rest = {f.name: pa.nulls(count, f.type) for f in MANIFEST if f.name not in columns}
        return pa.table({**columns, **rest}, schema=MANIFEST)


@dataclass(frozen=True)
class WithoutPictures:
    """Does a run's shards from what the plan says of objects."""

    workspace: Folder

    def get_ready(self, run: RunSpec) -> None:
        """Nothing to start."""

    def execute(self, run: RunSpec) -> None:
        """Write each shard's parts, one after the other."""
        worker = Worker(self.workspace, run)
        for number in range(len(run.shard_sizes)):
            outcomes = [
                _outcome(planned.reference.etag or "", planned)
                for planned in plans.read_shard(self.workspace, run.run_id, number)
            ]
            digests = (outcome.sha256 or "" for outcome in outcomes)
            answers: dict[str, Answer] = dict.fromkeys(digests, ANSWER)
            shards.finish(shards.begin(worker, number), Results(outcomes, answers))


def _outcome(etag: str, planned: plans.PlannedObject) -> Outcome:
    digest = hashlib.sha256(etag.encode())
    vector = np.frombuffer(digest.digest() * (SIZE // 8), np.uint32).astype(np.float32)
    found = Outcome(planned.reference, digest.hexdigest(), 60_000, 640, 480, "JPEG")
    return replace(found, embedding=vector[:SIZE])


def nights(setting: Setting, job: str, tidied: str) -> Measure:
    """Seconds of nights, and what the tables consist of after the last.

    Args:
        setting: where there is room.
        job: `embed` or `score`.
        tidied: `tidied`, or `untidied` for runs that leave all parts as they are.
    """

    def measure() -> Readings:
        with TemporaryDirectory(prefix="scratch-", dir=setting.data) as folder, _tidying(tidied):
            return _readings(f"{job}-{tidied}", Folder(folder), JOBS[job])

    return measure


def _tidying(tidied: str) -> AbstractContextManager[object]:
    if tidied == "tidied":
        return nullcontext()
    return mock.patch.object(maintenance, "after_run", lambda *_: None)


def _readings(key: str, workspace: Folder, job: Job) -> Readings:
    bucket = Bucket(np.zeros(OBJECTS, np.int64))
    _night(workspace, job, bucket, 1)
    taken = []
    for night in range(1, NIGHTS + AROUND + 1):
        bucket = bucket.replaced(night)
        taken.append(_night(workspace, job, bucket, night + 1))
    seconds, cpu_seconds = zip(*taken, strict=True)
    parts = [len(table.parts(s)) for table in tables_in(workspace) if (s := table.load())]
    return {
        **{f"nights-{key}-{night}": _around(seconds, night) for night in SHOWN},
        **{f"nights-{key}-{night}-cpu": _around(cpu_seconds, night) for night in SHOWN},
        f"nights-{key}-parts": float(sum(parts)),
    }


def _night(workspace: Folder, job: Job, bucket: Bucket, number: int) -> tuple[float, float]:
    """Seconds of the run, and of processors; the manifest is there before."""
    manifest = bucket.freeze(workspace, number)
    executor = WithoutPictures(workspace)
    before = time.process_time()
    seconds = seconds_of(lambda: jobs.run_job(workspace, job, manifest, executor, SILENT))
    cpu_seconds = time.process_time() - before
    workspace.delete(f"manifests/nightly-{number - 1:08d}.parquet")
    return seconds, cpu_seconds


def _around(seconds: Sequence[float], night: int) -> float:
    return median(seconds[max(0, night - 1 - AROUND) : night + AROUND])
