"""Every kind of measurement once, far too small to mean anything."""

import json

import numpy as np
import pytest

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.setting import Setting
from linnaeus import images
from linnaeus.engines import open_engine

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(600)]
IMAGES, STORED = 40, 600
MEASURED = ("decoder", "engine-float32", "inner-float32", "job", "again")
MEASURED += ("score-embeddings", "worker-memory", "training")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("benchmarks")


@pytest.fixture(scope="module")
def saved(data):
    sizes = [f"--images={IMAGES}", f"--stored={STORED}", "--rounds=1", f"--data={data}"]
    only = [f"--only={name}" for name in MEASURED]
    main([*sizes, *only, f"--json={data / 'results.json'}"])
    return json.loads((data / "results.json").read_text())


def test_each_measurement_gives_rows_of_the_table(saved):
    values = saved["medians"]
    assert set(MEASURED) | {"limit-float32", "job-start", "again-call"} <= values.keys()
    assert values.keys() <= {row.key for row in report.ROWS}
    assert all(np.isfinite(value) for value in values.values())


def test_what_goals_can_be_judged_is_judged(saved):
    judged = {goal["key"] for goal in saved["goals"]}
    assert judged == {
        "inner-float32",
        "job",
        "again",
        "worker-memory",
        "training",
        "training-memory",
    }


def test_the_scratch_workspaces_are_gone(saved, data):
    assert saved
    assert list(data.glob("scratch-*")) == []


def test_the_baseline_has_the_same_weights_and_pictures(saved, data):
    from benchmarks import baselines

    assert saved
    setting = Setting(str(data), IMAGES, STORED)
    spec, files = setting.spec(), setting.files()[:8]
    pixels = [images.decode(f.read_bytes(), spec.height, spec.width).pixels for f in files]
    ours = open_engine(setting.backbone_files(), spec, "openvino").embed(np.stack(pixels))
    theirs = baselines.embed(baselines.network(), [str(f) for f in files])
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    assert np.min((ours * theirs).sum(axis=1) / lengths) > 0.98
