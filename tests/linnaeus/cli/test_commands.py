"""What the commands hand to the workspace, and what they make of its answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from linnaeus.augmentation_settings import Augmentation
from linnaeus.cli.app import app
from linnaeus.maintenance import Compaction, Swept, Vacuum
from linnaeus.models import Model, ModelBackbone
from linnaeus.records import Counts, PhotoLabels
from linnaeus.training.config import (
    FineTuningConfig,
    GateConfig,
    KernelConfig,
    LayersConfig,
    LinearConfig,
    SplitConfig,
    TrainConfig,
)
from serving.client.skew import Comparison

TEST_METRICS = {
    "images": 656,
    "accuracy": 0.853,
    "accuracy_interval": [0.824, 0.878],
    "classes": {
        "defective": {"precision": 0.8, "recall": 0.7, "f1": 0.747, "support": 205},
        "functional": {"precision": 0.9, "recall": 0.9, "f1": 0.9, "support": 451},
    },
    "left_out": {},
}
MODEL = Model(
    "cells",
    3,
    ("defective", "functional"),
    ModelBackbone("pixels", "f00d", 28, 28, 2352),
    metrics={"test": TEST_METRICS},
)


COUNTS = Counts(planned=10, done=9, failed=1, new_failures=1, skipped=2, codes={"CORRUPT": 1})


@dataclass(frozen=True)
class RunSummary:
    run_id: str | None = "01J"
    job: str = "embed"
    source: str = "/pics"
    counts: Counts = COUNTS
    seconds: float = 31.0
    output: str | None = None
    committed: bool = True


@dataclass(frozen=True)
class Frozen:
    id: str = "abc-00000001"
    source: str = "/pics"
    number: int = 1
    objects: int = 2624


class RecordingWorkspace:
    """Keeps how it was called; answers what `answers` says."""

    calls: list[tuple[str, tuple, dict[str, Any]]]
    answers: dict[str, Any]

    def __init__(self, uri: str, progress: object) -> None:
        self.calls.append(("open", (uri,), {}))

    def __getattr__(self, name: str) -> Any:
        def method(*arguments: Any, **options: Any) -> Any:
            self.calls.append((name, arguments, options))
            return self.answers[name]

        return method


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[RecordingWorkspace]]:
    RecordingWorkspace.calls, RecordingWorkspace.answers = [], {}
    module = ModuleType("linnaeus.workspace")
    module.Workspace = RecordingWorkspace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "linnaeus.workspace", module)
    monkeypatch.delenv("LINNAEUS_WORKSPACE", raising=False)
    yield RecordingWorkspace


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_manifest_says_what_was_frozen(workspace: type[RecordingWorkspace]):
    workspace.answers = {"manifest": Frozen()}
    result = run("manifest", "pics", "--workspace", "here")
    assert workspace.calls == [("open", ("here",), {}), ("manifest", ("pics", None), {})]
    assert result.stdout == "2,624 objects of /pics in manifest abc-00000001\n"


def test_plan_shows_every_fact(workspace: type[RecordingWorkspace]):
    workspace.answers = {"plan": Frozen()}
    result = run("plan", "pics", "--backbone", "pixels@8")
    assert workspace.calls[-1] == (
        "plan",
        ("pics",),
        {"backbone": "pixels@8", "precision": "float32", "changes": None},
    )
    assert "objects: 2,624\n" in result.stdout


def test_embed_passes_beam_options_through(workspace: type[RecordingWorkspace]):
    workspace.answers = {"embed": RunSummary()}
    result = run(
        "embed", "pics", "--precision", "int8", "--", "--runner=Flink", "--parallelism", "4"
    )
    assert workspace.calls[-1] == (
        "embed",
        ("pics",),
        {
            "backbone": "efficientnet-lite0",
            "precision": "int8",
            "beam_options": ["--runner=Flink", "--parallelism", "4"],
            "changes": None,
        },
    )
    assert result.stdout == ("9 done, 1 failed (CORRUPT 1), 2 up to date; run 01J took 31 s\n")


def test_a_second_images_is_not_taken_for_a_beam_option(workspace: type[RecordingWorkspace]):
    result = run("embed", "pics", "more-pics")
    assert result.exit_code == 2
    assert "'more-pics'" in result.stderr
    assert workspace.calls == []


def test_skew_lists_every_comparison_and_fails_if_one_does(workspace: type[RecordingWorkspace]):
    near = Comparison("plain.jpg", "pixels", "scores", 2e-6, 1e-4)
    far = Comparison("turned.jpg", "image", "label", 1.0, 0.0)
    workspace.answers = {"skew": [near]}
    result = run("skew", "--model", "cells", "--server", "host:9000")
    assert workspace.calls[-1] == ("skew", ("cells",), {"server": "host:9000"})
    assert result.exit_code == 0
    assert result.stdout == "pixels     plain.jpg  scores   2.0e-06  ok\n"
    workspace.answers = {"skew": [near, far]}
    result = run("skew", "--model", "cells")
    assert result.exit_code == 1
    assert "beyond 0.0e+00" in result.stdout
    assert result.stderr.startswith("1 of 2 comparisons are beyond what is allowed")


def test_score_passes_every_option(workspace: type[RecordingWorkspace]):
    workspace.answers = {"score": RunSummary(output="out")}
    options = "--model cells:3 --server host:9000 --output out --format jsonl --payload image"
    options += " --no-skew-gate"
    result = run("score", "pics", *options.split(), "--", "--runner=Flink")
    assert workspace.calls[-1] == (
        "score",
        ("pics", "cells:3"),
        {
            "server": "host:9000",
            "output": "out",
            "format": "jsonl",
            "payload": "image",
            "skew_gate": False,
            "beam_options": ["--runner=Flink"],
            "changes": None,
        },
    )
    assert result.stdout.endswith("; written to out\n")


def test_retry_hands_over_what_is_tried_again(workspace: type[RecordingWorkspace]):
    failed_again = Counts(planned=3, done=1, failed=2, codes={"TIMEOUT": 2})
    workspace.answers = {"retry": RunSummary(counts=failed_again)}
    options = "--model cells:3 --server host:9000 --code TIMEOUT --code CORRUPT"
    result = run("retry", "pics", *options.split(), "--", "--runner=Flink")
    assert (result.exit_code, result.stdout[:6]) == (0, "1 done")
    name, positional, handed = workspace.calls[-1]
    assert (name, positional, handed["model"]) == ("retry", ("pics",), "cells:3")
    assert (handed["server"], handed["codes"]) == ("host:9000", ["TIMEOUT", "CORRUPT"])
    assert handed["beam_options"] == ["--runner=Flink"]


@pytest.mark.parametrize("command", [["embed", "pics"], ["score", "pics", "--model", "m"]])
@pytest.mark.parametrize(("allowed", "status"), [("0", 3), ("1", 3), ("2", 0)])
def test_new_failures_above_the_limit_are_status_3(
    workspace: type[RecordingWorkspace], command: list[str], allowed: str, status: int
):
    workspace.answers = {
        command[0]: RunSummary(counts=Counts(planned=9, done=7, failed=2, new_failures=2))
    }
    result = run(*command, "--max-failures", allowed)
    assert result.exit_code == status
    assert result.stdout.startswith("7 done, 2 failed")
    assert ("workspace/failures says why each" in result.stderr) == (status == 3)


def test_failures_that_failed_before_are_status_0(workspace: type[RecordingWorkspace]):
    counts = Counts(planned=9, done=7, failed=2, new_failures=0)
    workspace.answers = {"embed": RunSummary(counts=counts)}
    assert run("embed", "pics").exit_code == 0


def test_known_failures_alone_are_status_0(workspace: type[RecordingWorkspace]):
    counts = Counts(skipped=10, known_failures=3)
    workspace.answers = {"embed": RunSummary(run_id=None, counts=counts)}
    result = run("embed", "pics")
    assert (result.exit_code, result.stdout) == (
        0,
        "Nothing to do: 10 up to date, 3 known failures\n",
    )


def test_a_commit_of_what_others_did_says_no_time(workspace: type[RecordingWorkspace]):
    workspace.answers = {"commit_plan": RunSummary(seconds=0.0)}
    said = run("commit", "--plan", "night", "--max-failures", "1").stdout
    assert said == "9 done, 1 failed (CORRUPT 1), 2 up to date; run 01J\n"


def test_nothing_to_do_still_says_where_the_files_are(workspace: type[RecordingWorkspace]):
    counts = Counts(skipped=10)
    workspace.answers = {"score": RunSummary(run_id=None, counts=counts, output="out")}
    result = run("score", "pics", "--model", "cells", "--output", "out")
    assert result.stdout == "Nothing to do: 10 up to date; written to out\n"


def test_one_is_not_a_plural(workspace: type[RecordingWorkspace]):
    workspace.answers = {"manifest": Frozen(objects=1)}
    assert run("manifest", "pics").stdout.startswith("1 object of /pics")


def test_a_run_as_json_has_all_its_counts(workspace: type[RecordingWorkspace]):
    workspace.answers = {"commit": RunSummary()}
    record = json.loads(run("commit", "01J", "--json", "--max-failures", "1").stdout)
    assert workspace.calls[-1] == ("commit", ("01J",), {})
    assert record["counts"]["codes"] == {"CORRUPT": 1}


COMPACTED = Compaction("objects", 40, 3, 9_990, 1_000_000, 10)


def test_compact_says_what_became_of_each_table(workspace: type[RecordingWorkspace]):
    idle = Compaction("failures", 1, 1, 5)
    busy = Compaction("embeddings/f00d", 9, 9, 100, busy=True)
    workspace.answers = {"compact": [COMPACTED, idle, busy]}
    assert run("compact").stdout == (
        "objects: 40 parts become 3, 10,000 rows, 10 of them repeated\n"
        "failures: nothing to merge, 1 part, 5 rows\n"
        "embeddings/f00d: another process is compacting it\n"
    )
    assert json.loads(run("compact", "--json").stdout)[0]["parts_after"] == 3
    workspace.answers = {"compact": []}
    assert run("compact").stdout == "There are no tables\n"


def test_forget_says_whose_labels_went(workspace: type[RecordingWorkspace]):
    workspace.answers = {"forget": {"cells": 1200, "birds": 3, "none": 0}}
    result = run("forget", "pics")
    assert workspace.calls[-1] == ("forget", ("pics",), {})
    assert result.stdout == "pics is forgotten; labels that went: 1,200 of cells, 3 of birds\n"
    assert json.loads(run("forget", "pics", "--json").stdout)["cells"] == 1200
    workspace.answers = {"forget": {"cells": 0}}
    assert run("forget", "pics").stdout.endswith("labels that went: none\n")


def test_vacuum_says_what_went_or_would_go(workspace: type[RecordingWorkspace]):
    swept = {"objects": Swept(40, 2_000_000)}
    workspace.answers = {"vacuum": Vacuum(False, swept, Swept(1, 40_200), ["01J"])}
    assert run("vacuum").stdout == (
        "objects: 40 files, 2.0 MB, deleted\n"
        "runs: 1 file, 40 kB, deleted\n"
        "unfinished runs given up: 01J\n"
    )
    assert workspace.calls[-1] == ("vacuum", (), {"dry_run": False, "retention_days": 7.0})
    workspace.answers = {"vacuum": Vacuum(True, swept, Swept(0, 0), ["01J"])}
    assert run("vacuum", "--dry-run", "--retention-days", "0").stdout == (
        "objects: 40 files, 2.0 MB, would go\nunfinished runs would be given up: 01J\n"
    )
    assert workspace.calls[-1] == ("vacuum", (), {"dry_run": True, "retention_days": 0.0})
    assert json.loads(run("vacuum", "--json").stdout)["tables"]["objects"]["files"] == 40
    workspace.answers = {"vacuum": Vacuum(False, {}, Swept(0, 0), [])}
    assert run("vacuum").stdout == "Nothing to delete\n"


def test_train_without_options_is_the_default_configuration(
    workspace: type[RecordingWorkspace],
):
    workspace.answers = {"train": MODEL}
    result = run("train", "pics", "--model", "cells")
    name, arguments, _ = workspace.calls[-1]
    assert (name, arguments) == ("train", ("pics", "cells", TrainConfig()))
    assert result.stdout == (
        "Model cells:3 (defective, functional): "
        "test accuracy 0.853 (95 % interval 0.824 to 0.878) on 656 images\n"
    )


def test_train_takes_every_hyperparameter_of_a_head_of_layers(
    workspace: type[RecordingWorkspace],
):
    workspace.answers = {"train": MODEL}
    options = (
        "--backbone pixels --precision bfloat16 --head layers --hidden 512 --hidden 128 "
        "--dropout 0.5 --epochs 7 --batch-size 16 --optimizer sgd --learning-rate 0.01 "
        "--label-smoothing 0 --patience 2 --l2 0.002 --seed 4 --validation-percentage 15 "
        "--testing-percentage 20 --split-rule retrain"
    )
    run("train", "pics", "--model", "cells", *options.split())
    assert workspace.calls[-1][1][2] == TrainConfig(
        backbone="pixels",
        precision="bfloat16",
        head="layers",
        split=SplitConfig(15, 20, "full-path"),
        layers=LayersConfig(
            hidden=(512, 128),
            dropout=0.5,
            l2=0.002,
            label_smoothing=0.0,
            batch_size=16,
            optimizer="sgd",
            learning_rate=0.01,
            epochs=7,
            patience=2,
        ),
        seed=4,
    )


def test_several_l2_are_candidates_of_a_linear_head(workspace: type[RecordingWorkspace]):
    workspace.answers = {"train": MODEL}
    run("train", "pics", "--model", "cells", "--l2", "0.1", "--l2", "0.01")
    assert workspace.calls[-1][1][2] == TrainConfig(
        linear=LinearConfig((0.1, 0.01)), kernel=KernelConfig(l2=(0.1, 0.01))
    )


@pytest.mark.parametrize(
    ("options", "head"), [("--hidden 50 --epochs 3", "layers"), ("--gamma 2", "kernel")]
)
def test_options_of_one_kind_of_head_choose_it(
    workspace: type[RecordingWorkspace], options: str, head: str
):
    workspace.answers = {"train": MODEL}
    run("train", "pics", "--model", "cells", *options.split())
    assert workspace.calls[-1][1][2].head == head


def test_fine_tuning_takes_its_settings_from_the_same_options(
    workspace: type[RecordingWorkspace],
):
    workspace.answers = {"train": MODEL}
    options = (
        "--backbone vgg16 --fine-tune 4 --pooling flatten --hidden 1024 --dropout 0.5 "
        "--optimizer rmsprop --learning-rate 1e-4 --epochs 5 --rotation 40 --horizontal-flip"
    )
    run("train", "pics", "--model", "beer", *options.split())
    assert workspace.calls[-1][1][2] == TrainConfig(
        backbone="vgg16",
        augmentation=Augmentation(rotation=40.0, horizontal_flip=True),
        fine_tuning=FineTuningConfig(
            layers=4,
            pooling="flatten",
            hidden=1024,
            dropout=0.5,
            optimizer="rmsprop",
            learning_rate=1e-4,
            epochs=5,
        ),
    )


def test_gates_and_labels_of_a_file_reach_the_training(
    workspace: type[RecordingWorkspace], tmp_path: Path
):
    workspace.answers = {"train": MODEL}
    labels = tmp_path / "labels.txt"
    labels.write_bytes(b"\xef\xbb\xbfb\r\na b\n")  # as an editor on Windows may save it
    options = "--assert-accuracy-at-least 0.9 --target-precision 0.95 --class-weights balanced"
    run("train", "p", "--model", "c", *options.split(), "--labels", str(labels), "--sweep")
    assert workspace.calls[-1][1][2] == TrainConfig(
        sweep=True,
        labels=("b", "a b"),
        class_weights="balanced",
        gate=GateConfig(0.9, 0.95),
    )


@pytest.mark.parametrize(("text", "named"), [("", "no labels"), ("a\nb\na\n", "'a' twice")])
def test_a_list_of_labels_that_says_nothing_clear_is_refused(
    workspace: type[RecordingWorkspace], tmp_path: Path, text: str, named: str
):
    labels = tmp_path / "labels.txt"
    labels.write_text(text)
    result = run("train", "p", "--model", "c", "--labels", str(labels))
    assert result.exit_code == 2
    assert named in result.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--head linear --dropout 0.5", "--dropout"),
        ("--head kernel --batch-size 8", "--batch-size"),
        ("--gamma 1 --dropout 0.5", "--gamma"),
        ("--pooling flatten", "--fine-tune"),
        ("--fine-tune some", "--fine-tune some"),
        ("--fine-tune 0", "--fine-tune 0"),
        ("--fine-tune all --head linear", "--head linear"),
        ("--fine-tune all --gamma 1", "--gamma"),
        ("--fine-tune all --hidden 5 --hidden 6", "--hidden"),
        ("--rotation 200", "rotation"),
        ("--rotation nan", "distortion is a finite number"),
        ("--assert-accuracy-at-least 1.5", "--assert-accuracy-at-least"),
        ("--head layers --l2 1 --l2 2", "--l2"),
        ("--head layers --dropout 1.5", "dropout"),
        ("--head layers --learning-rate nan", "learning_rate is a finite number"),
        ("--fine-tune all --l2 inf", "l2 is a finite number"),
        ("--head linear --l2 nan", "l2 is a finite number"),
        ("--gamma inf", "gamma is a finite number"),
        ("--sweep --head linear", "--head linear"),
        ("--sweep --fine-tune all", "--fine-tune"),
        ("--sweep --dropout 0.3", "--dropout"),
        ("--views 0", "views is at least 1"),
        ("--seed -1", "a seed is at least 0"),
        ("--labels no-such-file.txt", "cannot read no-such-file.txt"),
    ],
)
def test_options_that_the_head_cannot_use_are_wrong_usage(
    workspace: type[RecordingWorkspace], options: str, named: str
):
    result = run("train", "pics", "--model", "cells", *options.split())
    assert result.exit_code == 2
    assert named in result.stderr
    assert workspace.calls == []


@pytest.mark.parametrize(
    ("split", "which"),
    [("test", "which its training held out"), ("all", "none known to be of its training")],
)
def test_evaluate_says_which_images_it_speaks_of(
    workspace: type[RecordingWorkspace], split: str, which: str
):
    workspace.answers = {"evaluate": {**TEST_METRICS, "split": split}}
    first = run("evaluate", "pics", "--model", "cells").stdout.splitlines()[0]
    assert first.endswith(f"on 656 images, {which}")


def test_evaluate_shows_each_class(workspace: type[RecordingWorkspace]):
    workspace.answers = {"evaluate": TEST_METRICS}
    lines = run("evaluate", "pics", "--model", "cells").stdout.splitlines()
    assert workspace.calls[-1] == ("evaluate", ("pics", "cells"), {})
    assert lines[0] == "Accuracy 0.853 (95 % interval 0.824 to 0.878) on 656 images"
    assert " ".join(lines[1].split()) == (
        "defective precision 0.800 recall 0.700 F1 0.747 205 images"
    )


def test_evaluate_says_what_it_could_not_judge(workspace: type[RecordingWorkspace]):
    unseen = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    left_out = {"not embedded": 15, "duplicate": 1}
    workspace.answers = {
        "evaluate": {**TEST_METRICS, "classes": {"cracked": unseen}, "left_out": left_out}
    }
    _, line, end = run("evaluate", "pics", "--model", "cells").stdout.splitlines()
    assert (
        " ".join(line.replace("\N{EN DASH}", "-").split())
        == "cracked precision - recall - F1 - 0 images"
    )
    assert end == "left out: 15 not embedded, 1 duplicate"


def test_evaluate_shows_what_else_is_known_of_the_scores(workspace: type[RecordingWorkspace]):
    measures = {"precision": 0.8, "recall": 0.7, "f1": 0.745}
    more = {
        "task": "single",
        "macro": measures,
        "top_k": {"k": 2, "accuracy": 0.991},
        "log_loss": 0.4321,
        "calibration": {"error": 0.0212, "bins": []},
        "abstention": {"threshold": 0.83, "unknown": 12, "coverage": 0.9817, "precision": 0.951},
    }
    workspace.answers = {"evaluate": {**TEST_METRICS, **more}}
    assert run("evaluate", "pics", "--model", "cells").stdout.splitlines()[3:] == [
        "macro average: precision 0.800  recall 0.700  F1 0.745",
        "true label among the best 2: 0.991",
        "log loss 0.432",
        "calibration error 0.021",
        "unknown below a confidence of 0.830: 12 images; the others: coverage 0.982, "
        "precision 0.951",
    ]


def test_evaluate_shows_how_each_of_several_labels_ranks(workspace: type[RecordingWorkspace]):
    label = {"precision": 0.8, "recall": 0.7, "f1": 0.745, "support": 2, "average_precision": 0.9}
    several = {**TEST_METRICS, "task": "multi", "classes": {"wet": label}}
    workspace.answers = {"evaluate": several}
    first, second, *_ = run("evaluate", "pics", "--model", "cells").stdout.splitlines()
    assert first.startswith("All labels of an image right: accuracy 0.853")
    assert second.endswith("F1 0.745  average precision 0.900  2 images")


def test_label_prints_the_best_first_with_five_digits(workspace: type[RecordingWorkspace]):
    workspace.answers = {
        "label": [PhotoLabels("a.jpg", [("daisy", 0.9912345), ("rose", 0.0087655)])]
    }
    result = run("label", "a.jpg", "--model", "flowers")
    assert workspace.calls[-1] == ("label", (["a.jpg"], "flowers"), {})
    assert result.stdout == "daisy (score=0.99123)\nrose (score=0.00877)\n"


def test_label_prints_unknown_before_the_best_where_the_model_is_not_sure(
    workspace: type[RecordingWorkspace],
):
    best = [("daisy", 0.41), ("rose", 0.4)]
    workspace.answers = {"label": [PhotoLabels("a.jpg", best, None, "unknown", [])]}
    lines = run("label", "a.jpg", "--model", "flowers").stdout.splitlines()
    assert lines == [
        "unknown (score=0.41000)",
        "daisy (score=0.41000)",
        "rose (score=0.40000)",
    ]
    workspace.answers = {"label": [PhotoLabels("a.jpg", best, None, "daisy", ["daisy"])]}
    assert run("label", "a.jpg", "--model", "flowers").stdout.splitlines() == lines[1:]


def test_several_photos_have_headings(workspace: type[RecordingWorkspace]):
    photos = [PhotoLabels("a.jpg", [("daisy", 0.9)]), PhotoLabels("b.jpg", [("rose", 0.8)])]
    workspace.answers = {"label": photos}
    result = run("label", "a.jpg", "b.jpg", "--model", "flowers")
    assert result.stdout == ("a.jpg:\ndaisy (score=0.90000)\n\nb.jpg:\nrose (score=0.80000)\n")


def test_broken_photos_cost_the_others_nothing(workspace: type[RecordingWorkspace]):
    photos = [
        PhotoLabels("a.jpg", [], "a.jpg: not an image"),
        PhotoLabels("b.jpg", [("rose", 0.8)]),
        PhotoLabels("c.jpg", [], "/c.jpg does not exist"),
    ]
    workspace.answers = {"label": photos}
    result = run("label", "a.jpg", "b.jpg", "c.jpg", "--model", "flowers")
    assert result.exit_code == 1
    assert result.stdout == "b.jpg:\nrose (score=0.80000)\n"
    assert result.stderr == "a.jpg: not an image\n/c.jpg does not exist\n"


def test_status_shows_nested_facts(workspace: type[RecordingWorkspace]):
    workspace.answers = {
        "status": {"tables": {"objects": {"rows": 2624}}, "models": [], "runs": [{"id": "01J"}]}
    }
    assert run("status").stdout == (
        "tables:\n  objects:\n    rows: 2,624\nmodels: none\nruns:\n  - id 01J\n"
    )


def test_a_run_that_was_handed_over_is_said_to_commit_itself(
    workspace: type[RecordingWorkspace],
):
    counts = Counts(planned=2624, skipped=2)
    workspace.answers = {"embed": RunSummary(counts=counts, committed=False)}
    ended = run("embed", "/pics", "--", "--no_wait_until_finish")
    assert ended.stdout == (
        "2,624 images planned in run 01J, which its pipeline's last step commits, or linnaeus "
        "commit 01J\n"
    )
    assert ended.exit_code == 0


def test_preflight_passes_every_option_and_fails_by_what_is_fatal(
    workspace: type[RecordingWorkspace],
):
    from beam_pipelines.preflight import Finding

    mind, wrong = Finding("a", "it is slow", "speed", fatal=False), Finding("b", "it is out", "in")
    workspace.answers = {"preflight": [wrong, mind]}
    options = ["--model", "m:3", "--server", "h:1", "--output", "/o", "--flink", "f:8081"]
    ended = run("preflight", "/pics", *options, "--", "--runner=FlinkRunner")
    assert workspace.calls[-1] == (
        "preflight",
        ("/pics", "m:3"),
        {
            "server": "h:1",
            "output": "/o",
            "flink": "f:8081",
            "beam_options": ["--runner=FlinkRunner"],
        },
    )
    assert ended.stdout == "wrong  it is out\n       in\nmind   it is slow\n       speed\n"
    assert ended.exit_code == 1
    workspace.answers = {"preflight": [mind]}
    assert run("preflight", "/pics").exit_code == 0


def test_help_names_the_commands_in_the_order_of_use():
    text = run("--help").stdout
    names = "demo manifest plan embed train evaluate serve score preflight label commit status"
    places = [text.index(f"\u2502 {name} ") for name in names.split(" ")]
    assert places == sorted(places)
