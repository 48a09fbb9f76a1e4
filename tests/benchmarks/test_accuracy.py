import csv
import io
import json
from collections import Counter

import numpy as np
import pytest
from rich.console import Console

from benchmarks.accuracy import report
from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.measure import Result, Trained
from benchmarks.accuracy.rows import ROWS, settings
from benchmarks.accuracy.splits import split_anew, write_split
from linnaeus.backbones.families import parse
from linnaeus.datasets import DATASETS, place
from linnaeus.datasets.pictures import png
from linnaeus.datasets.placing import Sample
from linnaeus.training.config import KernelConfig, TrainConfig


def rows_of(*counts):
    kinds = [("defective", "1.0"), ("defective", "0.5"), ("functional", "1.0")]
    return [
        {"uri": f"{label}-{weight}-{number}.png", "label": label, "split": "", "weight": weight}
        for (label, weight), count in zip(kinds, counts, strict=True)
        for number in range(count)
    ]


def result(name, *accuracies):
    trained = [Trained(seed, a, 0.9, 656, 10.0, {}) for seed, a in enumerate(accuracies)]
    return Result(ROWS[name], 5.0, tuple(trained))


def test_a_quarter_of_every_kind_is_held_out():
    split = split_anew(rows_of(40, 8, 100), seed=3)
    held_out = Counter((row["label"], row["weight"]) for row in split if row["split"] == "test")
    assert held_out == {
        ("defective", "1.0"): 10,
        ("defective", "0.5"): 2,
        ("functional", "1.0"): 25,
    }


def test_a_seed_decides_a_split():
    rows = rows_of(40, 8, 100)
    assert split_anew(rows, 1) == split_anew(rows, 1) != split_anew(rows, 2)


def test_a_split_of_another_seed_has_the_same_pictures(tmp_path):
    samples = [Sample(f"{n}.png", "ab"[n % 2], b"", "train") for n in range(16)]
    manifest = place(lambda: samples, tmp_path)
    with write_split(manifest, 1).open(newline="") as lines:
        split = list(csv.DictReader(lines))
    with manifest.open(newline="") as lines:
        whole = list(csv.DictReader(lines))
    assert [row["uri"] for row in split] == [row["uri"] for row in whole]
    assert Counter(row["split"] for row in split) == {"train": 12, "test": 4}


def test_the_first_split_of_the_solar_cells_is_the_one_of_the_data_set(tmp_path):
    pytest.importorskip("elpv_dataset")
    dataset = DATASETS["solar-cells"]
    manifest = place(
        lambda: (Sample(s.name, s.label, b"", s.split, s.weight) for s in dataset.samples()),
        tmp_path,
    )
    assert write_split(manifest, 0).read_text() == manifest.read_text()


def test_settings_are_what_differs_from_the_defaults():
    config = TrainConfig(head="kernel", kernel=KernelConfig(centres=50))
    assert settings(config) == {"head": "kernel", "kernel.centres": 50}
    assert settings(TrainConfig()) == {}


def test_settings_of_a_part_that_is_not_there_by_default_are_all_told():
    found = settings(ROWS["solar-cells-best"].config)
    assert {"fine_tuning.epochs", "fine_tuning.optimizer"} <= found.keys()


def test_every_row_is_of_a_known_data_set_and_backbone():
    for name, row in ROWS.items():
        assert row.name == name
        assert row.dataset in DATASETS
        parse(row.config.backbone)
        assert 0 < row.goal < 1


def test_a_goal_is_held_against_the_mean_over_the_seeds():
    above, below = result("solar-cells", 0.85, 0.89), result("solar-cells", 0.85, 0.87)
    assert [one.row.met(one.accuracy) for one in (above, below)] == [True, False]
    assert above.deviation == pytest.approx(np.std([0.85, 0.89], ddof=1))


def test_one_seed_has_no_deviation():
    assert result("solar-cells", 0.88).deviation == 0


def test_the_table_says_what_was_reached_and_with_which_settings():
    console = Console(file=io.StringIO(), width=160)
    report.show([result("solar-cells", 0.87, 0.89), result("digits", 0.96)], console)
    shown = console.file.getvalue()
    assert "88.00%" in shown
    assert "not met" in shown
    assert "efficientnet-lite0@300+mid" in shown


@pytest.mark.slow
def test_a_row_goes_from_pictures_to_a_tested_model_of_each_seed(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    shades = {"dark": (0, 100), "light": (155, 255)}
    samples = [
        Sample(f"{label}/{n}.png", label, png(random.integers(*shades[label], (8, 8), np.uint8)))
        for label in shades
        for n in range(40)
    ]
    monkeypatch.setitem(
        DATASETS, "digits", type(DATASETS["digits"])("digits", "", 80, "", lambda: iter(samples))
    )
    monkeypatch.setitem(
        ROWS,
        "digits",
        type(ROWS["digits"])("digits", "digits", 0.97, TrainConfig("pixels@8", head="linear")),
    )
    saved = tmp_path / "results.json"
    main(["--only=digits", "--seeds=2", f"--json={saved}", f"--data={tmp_path / 'data'}"])
    (row,) = json.loads(saved.read_text())["rows"]
    assert row["accuracy"] == 1.0
    assert row["met"]
    assert [one["test_images"] for one in row["trained"]] == [20, 20]
    assert [one["chosen"]["head"] for one in row["trained"]] == ["linear", "linear"]
    assert row["settings"] == {"backbone": "pixels@8", "head": "linear"}
