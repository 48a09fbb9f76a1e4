"""The shards of a frozen run on Beam: all are done, none is committed."""

import json

import pytest

from beam_pipelines import run_shards
from linnaeus import manifests, preparation
from linnaeus.errors import ConfigurationError
from linnaeus.jobs import commit_plan, frozen_runs
from linnaeus.planning import EmbedJob
from tests.buckets import fill

pytestmark = pytest.mark.slow


def frozen(workspace, folder):
    manifest = manifests.freeze(workspace, str(folder))
    spec = preparation.prepare(workspace, "pixels@8", "float32")
    return frozen_runs.freeze_run(workspace, EmbedJob(spec.fingerprint), manifest, "night-embed")


def test_shards_are_done_and_left_to_be_committed(workspace, tmp_path, capsys):
    run = frozen(workspace, fill(tmp_path / "bucket", 6))
    run_shards.main(["--workspace", workspace.uri, "--plan", "night-embed"])
    assert json.loads(capsys.readouterr().out)["run_id"] == run.run_id
    assert not frozen_runs.is_over(workspace, run)
    assert commit_plan(workspace, run).counts.done == 6
    run_shards.main(["--workspace", workspace.uri, "--plan", "night-embed"])  # again: nothing


def test_a_plan_of_nothing_and_one_that_there_is_not_are_refused(workspace, tmp_path):
    run = frozen(workspace, fill(tmp_path / "bucket", 2))
    run_shards.main(["--workspace", workspace.uri, "--plan", "night-embed"])
    commit_plan(workspace, run)
    manifest = manifests.freeze(workspace, str(tmp_path / "bucket"))
    spec = preparation.prepare(workspace, "pixels@8", "float32")
    frozen_runs.freeze_run(workspace, EmbedJob(spec.fingerprint), manifest, "nothing")
    for plan in ("nothing", "unknown"):
        with pytest.raises(ConfigurationError, match=plan):
            run_shards.run_shards(workspace, run_shards.ShardsRequest(plan))
