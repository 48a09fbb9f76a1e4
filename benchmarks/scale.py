"""What grows with the bucket: listing, freezing, planning, committing; each in a fresh process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import pyarrow as pa

from benchmarks import replayed_listing
from benchmarks.measuring import Measure, Readings, peak_megabytes, seconds_of
from benchmarks.scale_data import BUCKET, FINGERPRINT, NEW, Made, made
from benchmarks.setting import Setting
from linnaeus import layout, manifests, runs
from linnaeus.manifests import Manifest
from linnaeus.planning import EmbedJob, RunSpec, plans
from linnaeus.planning.plans import PLAN
from linnaeus.records import EMBEDDINGS, OBJECTS, Counts
from linnaeus.storage import Folder
from linnaeus.tables import parts
from linnaeus.worker import Receipt

EMBED = EmbedJob(FINGERPRINT)


def listing(setting: Setting, objects: str) -> Measure:
    """Freeze the listing of a bucket in folders of 10,000 objects, which is replayed."""
    server = replayed_listing.serve(int(objects))

    def measure() -> Readings:
        with server as running, _empty(setting) as workspace:
            os.environ |= running.environment
            key = f"scale-listing-{objects}"
            readings = _readings(key, lambda: manifests.freeze(workspace, f"s3://{BUCKET}"))
            found = manifests.newest(workspace, f"s3://{BUCKET}")
            assert found is not None
            assert found.objects == int(objects)
            return {**readings, f"{key}-requests": running.requests()}

    return measure


def inventory(setting: Setting, kind: str, objects: str) -> Measure:
    """Freeze an Inventory of a bucket, `Parquet` or `CSV`."""
    bucket = made(setting, int(objects))

    def measure() -> Readings:
        with _empty(setting) as workspace:
            key = f"scale-inventory-{kind.lower()}-{objects}"
            return _readings(key, lambda: manifests.freeze(workspace, bucket.inventory(kind)))

    return measure


def plan(setting: Setting, objects: str) -> Measure:
    """Hold a manifest against tables that know all objects but a thousand."""
    bucket = made(setting, int(objects))
    workspace, manifest = Folder(str(bucket.tables)), bucket.manifest

    def measure() -> Readings:
        return _readings(f"scale-plan-{objects}", lambda: _plan_new(workspace, manifest))

    return measure


def _plan_new(workspace: Folder, manifest: Manifest) -> None:
    assert runs.make_plan(workspace, EMBED, manifest).spec.planned == NEW


def first_plan(setting: Setting, objects: str) -> Measure:
    """Plan a bucket of which nothing is known, and freeze the plan."""
    bucket = made(setting, int(objects))

    def measure() -> Readings:
        with _empty(setting) as workspace:
            name = f"manifests/{bucket.manifest.id}.parquet"
            workspace.write_new_file(name, bucket.tables / name)
            return _readings(f"scale-first-{objects}", lambda: _plan_and_claim(workspace, bucket))

    return measure


def nightly(setting: Setting, objects: str) -> Measure:
    """From an Inventory to a worker's first shard, of a bucket of which a thousand are new."""
    bucket = made(setting, int(objects))

    def measure() -> Readings:
        with _empty(setting) as workspace:
            for table in ("objects", "embeddings"):
                target = Path(workspace.uri) / table
                shutil.copytree(bucket.tables / table, target, copy_function=os.link)
            return _readings(f"scale-nightly-{objects}", lambda: _night(workspace, bucket))

    return measure


def _night(workspace: Folder, bucket: Made) -> None:
    manifests.freeze(workspace, bucket.inventory("Parquet"))
    run = _plan_and_claim(workspace, bucket)
    assert run.planned == NEW
    assert len(plans.read_shard(workspace, run.run_id, 0)) == run.shard_sizes[0]


def _plan_and_claim(workspace: Folder, bucket: Made) -> RunSpec:
    plan = runs.make_plan(workspace, EMBED, bucket.manifest)
    return runs.create_run(workspace, EMBED, plan)


def commit(setting: Setting, shards: str) -> Measure:
    """Commit a run of as many shards, of one object each: two parts a shard, and a receipt."""
    bucket = made(setting, int(shards))

    def measure() -> Readings:
        with _empty(setting) as workspace:
            run = finished_run(workspace, bucket)
            return _readings(f"scale-commit-{shards}", lambda: runs.commit(workspace, run.run_id))

    return measure


def finished_run(workspace: Folder, bucket: Made) -> RunSpec:
    """A run over a bucket, of a shard an object, that is done and not committed."""
    manifest = manifests.freeze(workspace, bucket.inventory("Parquet"))
    rows = (
        {"uri": f"/{n}.jpg", "etag": str(n), "size": 1, "attempt": 1, "embedded": False}
        for n in range(bucket.objects)
    )
    draft = plans.Draft(
        EMBED.new_run(manifest.source, manifest.id), (_rows(PLAN, row) for row in rows)
    )
    workspace.write_new_file(layout.plan(draft.spec.run_id), draft.path)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: _do(workspace, draft.spec, n), range(bucket.objects)))
    return draft.spec


def _do(workspace: Folder, run: RunSpec, number: int) -> None:
    embeddings = layout.embeddings(run.fingerprint)
    sha256 = f"{number:064x}"
    vector = _rows(EMBEDDINGS, {"sha256": sha256, "embedding": [0.0], "run_id": run.run_id})
    part = parts.write(workspace, layout.attempt_part(embeddings, run.run_id, number, 1), vector)
    assert part is not None
    receipt = Receipt(number, Counts(planned=1, done=1, embedded=1), {embeddings: part})
    row = {"uri": f"/{number:06d}.jpg", "etag": str(number), "sha256": sha256}
    key = layout.shard_part(layout.OBJECTS, run.run_id, number)
    parts.write(workspace, key, _rows(OBJECTS, row), {"receipt": receipt.to_json()})


def _rows(schema: pa.Schema, row: Mapping[str, object]) -> pa.Table:
    return pa.Table.from_pylist([row], schema=schema)


@contextmanager
def _empty(setting: Setting) -> Iterator[Folder]:
    with TemporaryDirectory(prefix="scratch-", dir=setting.data) as folder:
        yield Folder(folder)


def _readings(key: str, work: Callable[[], object]) -> Readings:
    """Time of `work`, processor time of it over all threads, and the process's peak memory."""
    before = process_time()
    seconds = seconds_of(work)
    return {
        key: seconds,
        f"{key}-cpu": process_time() - before,
        f"{key}-memory": peak_megabytes(),
    }
