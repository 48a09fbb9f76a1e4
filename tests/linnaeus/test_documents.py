"""Files that are not ours block nothing; one of ours that is cut or foreign is one line."""

import os
import shutil
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from linnaeus import errors, layout, manifests, models, runs
from linnaeus.backbones import store
from linnaeus.errors import DamagedFile
from linnaeus.jobs import frozen_runs
from linnaeus.maintenance import Retention, forget, vacuum
from linnaeus.maintenance.compaction import compact
from linnaeus.planning import plans
from linnaeus.records import HELD_OUT_PREDICTIONS
from linnaeus.report.finished import find
from linnaeus.status import overview
from linnaeus.status.observer import Observer, last_heartbeat, unfinished
from linnaeus.storage import Folder, leased
from linnaeus.storage.leases import Holder, holder
from linnaeus.tables import parts, tables_in
from linnaeus.training.exporting.publication import claim_version
from linnaeus.workflow import candidates
from linnaeus.workflow.forecast.past_runs import PastRuns
from linnaeus.workflow.workflow_run import Step, WorkflowRun
from tests.buckets import fill
from tests.linnaeus.runs.test_opening import EMBED, SCORE, begin, run
from tests.pixel_engine import SPEC

STRANGERS = [
    ".DS_Store",
    "._00000001",
    "Thumbs.db",
    "00000001 (1)",
    "²",
    "7",
    "9" * 30,
    "1.parquet",
]
MODEL = models.Model("m", 1, ("a", "b"), models.ModelBackbone.of(SPEC))
NOT_OURS = ["", "{", "[]", "{}", "null", '"text"', "7", "\x00\ufffd", "[" * 100_000]


@pytest.fixture
def lived_in(workspace, tmp_path) -> Folder:
    """A workspace with a scored source, a model, a workflow run and a named plan."""
    run(workspace, fill(tmp_path / "bucket", 4), SCORE)
    workspace.write(f"{MODEL.prefix}/linnaeus.json", MODEL.to_json().encode())
    claim_version(workspace, "m")
    WorkflowRun.begin("nightly", "1").after(Step("score", "done", "labelled", 1.0)).save(workspace)
    kept = b'{"schema_version": 1, "status": "done"}'
    workspace.write("workflow_runs/nightly/1.summary.json", kept)
    manifest = manifests.freeze(workspace, str(tmp_path / "bucket"))
    frozen_runs.freeze_run(workspace, SCORE, manifest, "named")
    workspace.write(layout.lease("work", 3), b"{}")
    os.utime(workspace.uri_of(layout.lease("work", 3)), (0, 0))
    return workspace


def test_strangers_files_in_all_folders_change_nothing(lived_in, tmp_path):
    before, number = overview(lived_in), claim_version(lived_in, "m")
    for folder in [Path(lived_in.uri), *Path(lived_in.uri).rglob("*")]:
        if folder.is_dir():
            for name in STRANGERS:
                if not (folder / name).exists():
                    (folder / name).write_bytes(b"\x00\x01stranger\xff")
            for name in ("a%20b", "old copy", ".Trash"):
                (folder / name).mkdir()
                (folder / name / "1.json").write_bytes(b"stranger")
    [copied] = Path(lived_in.uri, "runs").glob("[0-9A-Z]*/plan.parquet")
    shutil.copytree(copied.parent, f"{copied.parent} copy")
    assert overview(lived_in) == before
    assert run(lived_in, fill(tmp_path / "bucket", 2, first=4), SCORE).counts.done == 2
    assert claim_version(lived_in, "m") in (number + 1, 8)  # 7 is a number, whoever gave it
    assert unfinished(lived_in) == []
    with leased(lived_in, "work") as lease:
        assert lease is not None
        assert lease.number == 4
    for table in tables_in(lived_in):
        compact(table)
    vacuum(lived_in, Retention(unfinished=timedelta(0)))
    assert (Path(lived_in.uri) / layout.RUN_NAMES / ".DS_Store").exists()
    assert any(Path(f"{copied.parent} copy", "attempts").iterdir())
    assert [run.id for run in PastRuns.of(lived_in, "nightly").runs] == ["1"]
    assert forget(lived_in, str(tmp_path / "bucket")) == {"m": 6}


def test_a_file_that_is_cut_or_foreign_is_one_line_with_the_remedy(lived_in, tmp_path, subtests):
    [committed] = [r["run"] for r in overview(lived_in)["runs"]]
    begun = begin(lived_in, fill(tmp_path / "bucket", 6), SCORE).run_id
    manifest = manifests.newest(lived_in, str(tmp_path / "bucket"))
    claim = layout.claim(SCORE.index(manifest.source), 2)
    reads = {
        layout.summary(committed): lambda: find(lived_in, committed),
        layout.run_name("named"): lambda: frozen_runs.load(lived_in, "named"),
        f"{MODEL.prefix}/linnaeus.json": lambda: models.load_model(lived_in, "m"),
        "workflow_runs/nightly/1.json": lambda: WorkflowRun.load(lived_in, "nightly", "1"),
        "backbones/f/spec.json": lambda: store.load_spec(lived_in, "f"),
        layout.plan(begun): lambda: plans.read_spec(lived_in, begun),
        f"manifests/{manifest.id}.parquet": lambda: manifests.describe(lived_in, manifest.id),
        layout.held_out_predictions("T"): lambda: parts.read(
            lived_in, layout.held_out_predictions("T"), HELD_OUT_PREDICTIONS
        ),
        claim: lambda: runs.open_run(lived_in, SCORE, manifest.source),
    }
    for (key, read), text in product(reads.items(), NOT_OURS):
        plans._metadata.cache_clear()
        lived_in.write(key, text.encode())
        with subtests.test(key=key, text=text[:10]):
            with pytest.raises((DamagedFile, errors.ConfigurationError)) as told:
                read()
            assert "\n" not in str(told.value)
            assert any(word in str(told.value) for word in ("delete", "prepare it again"))
            assert isinstance(told.value, errors.ConfigurationError) or key in str(told.value)


def test_what_is_only_told_is_passed_over(lived_in, tmp_path, subtests):
    begun = begin(lived_in, fill(tmp_path / "bucket", 6), SCORE).run_id
    candidate = candidates.Candidate("c", lived_in, MODEL)
    for text in NOT_OURS:
        with subtests.test(text=text[:10]):
            lived_in.write(layout.progress(begun), text.encode())
            assert last_heartbeat(lived_in, begun) is None
            assert Observer(lived_in, begun).poll().progress.done == 0
            lived_in.write(layout.lease("work", 3), text.encode())
            assert holder(lived_in, "work") == Holder()
            lived_in.write("churn.json", text.encode())
            assert candidates.known_churn(candidate) is None
            lived_in.write("backbones/names/key.json", text.encode())
            assert store.find_named(lived_in, "key") is None


def test_status_goes_on_where_a_summary_is_damaged(lived_in):
    [committed] = [r["run"] for r in overview(lived_in)["runs"]]
    for text in NOT_OURS:
        lived_in.write(layout.summary(committed), text.encode())
        lived_in.write("workflow_runs/nightly/1.summary.json", text.encode())
        found = overview(lived_in)
        assert found["runs"] in ([{"run": committed, "state": "damaged"}], [])


@pytest.mark.parametrize("deleted", ["runs/{0.run_id}/plan", "manifests/{0.manifest_id}"])
def test_a_run_whose_plan_or_list_was_deleted_is_done_anew(workspace, tmp_path, deleted):
    bucket = fill(tmp_path / "bucket", 4)
    begun = begin(workspace, bucket)
    workspace.delete(f"{deleted.format(begun)}.parquet")
    assert unfinished(workspace) == []
    assert run(workspace, bucket, EMBED).counts.done == 4
    assert run(workspace, bucket, EMBED).run_id is None


def test_a_receipt_that_is_not_ours_is_one_line(workspace, tmp_path):
    begun = begin(workspace, fill(tmp_path / "bucket", 4))
    key = layout.shard_part(layout.OBJECTS, begun.run_id, 0)
    workspace.write(key, b"stranger")
    with pytest.raises(DamagedFile, match=f"{key} is damaged or not linnaeus's: delete it"):
        runs.commit(workspace, begun.run_id)
