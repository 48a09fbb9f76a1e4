"""A picture that kills its worker costs no other one."""

import multiprocessing
from pathlib import Path

import pytest

from linnaeus import images, layout, manifests, runs
from linnaeus.isolation import IsolatedDecoder
from linnaeus.records import FAILURES
from linnaeus.runs import Job
from linnaeus.shards import do_shard
from linnaeus.storage import Folder
from linnaeus.tables import Table
from tests import killing_decoder
from tests.buckets import TestWorker, fill
from tests.pixel_engine import SPEC

EMBED = Job("embed", SPEC.fingerprint)


def die_of_the_shard(workspace_uri: str, run_id: str) -> None:
    """What a worker process does whose decoder one of the pictures kills."""
    from linnaeus import plans

    images.decode = killing_decoder.decode  # type: ignore[assignment]
    workspace = Folder(workspace_uri)
    do_shard(TestWorker(workspace, plans.read_spec(workspace, run_id)), 0)


def test_a_picture_that_kills_its_worker_is_recorded_and_the_others_are_embedded(
    workspace: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bucket = fill(tmp_path / "bucket", 10)
    (bucket / "even" / "killer.png").write_bytes(killing_decoder.KILLER)
    manifest = manifests.freeze(workspace, str(bucket))
    run = runs.create_run(workspace, EMBED, runs.make_plan(workspace, EMBED, manifest))
    worker = multiprocessing.get_context("spawn").Process(
        target=die_of_the_shard, args=(workspace.uri, run.run_id)
    )
    worker.start()
    worker.join()
    assert worker.exitcode != 0

    monkeypatch.setattr(IsolatedDecoder, "decode_function", "tests.killing_decoder:decode")
    receipt = do_shard(TestWorker(workspace, run), 0)
    assert (receipt.counts.done, receipt.counts.codes) == (10, {"CRASHED": 1})
    runs.commit(workspace, run.run_id)
    [failure] = Table(workspace, layout.FAILURES, FAILURES).scan().read_all().to_pylist()
    assert failure["uri"].endswith("killer.png")


def test_a_first_attempt_decodes_in_the_worker_itself(
    workspace: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(IsolatedDecoder, "decode_function", "tests.killing_decoder:never")
    manifest = manifests.freeze(workspace, str(fill(tmp_path / "bucket", 3)))
    run = runs.create_run(workspace, EMBED, runs.make_plan(workspace, EMBED, manifest))
    assert do_shard(TestWorker(workspace, run), 0).counts.done == 3
