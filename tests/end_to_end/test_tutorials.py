"""The commands of docs/how-to/tutorials.md, as they are written there, on small real data.

Only what the internet would be needed for is replaced: published weights by random ones of the same
network at a small input, a Hub handle by a module in a folder, a download by a file.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from linnaeus import Workspace
from linnaeus.cli.app import app
from linnaeus.datasets.flowers import URL_VARIABLE
from tests.crops import LABELS, fill
from tests.linnaeus.datasets.idx_files import write_idx
from tests.linnaeus.training import tuning

pytestmark = [pytest.mark.slow, pytest.mark.soak]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "tutorials.md"
HANDLE = "https://tfhub.dev/google/imagenet/inception_v3/feature_vector/5"
HERE = {
    HANDLE: "./module",
    "vgg16": "keras:vgg16@32?weights=vgg16.weights.h5",
    "mobilenet_v2": "keras:mobilenet_v2@96?weights=mobilenet_v2.weights.h5",
}


@dataclass(frozen=True)
class Said:
    """What a command printed."""

    out: str
    err: str

    @property
    def accuracy(self) -> float:
        """Of the test that a training ended with."""
        found = re.search(r"test accuracy ([01]\.\d+)", self.out)
        assert found, self.out
        return float(found[1])


def documented(section: str) -> list[list[str]]:
    """The commands below a heading, as words."""
    text = PAGE.read_text().partition(f"\n## {section}")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    assert lines, f"no command below {section!r}"
    return [shlex.split(line) for line in lines]


def follow(section: str) -> list[Said]:
    """Run all commands below a heading, in this folder."""
    return [run([HERE.get(word, word) for word in words]) for words in documented(section)]


def run(words: list[str]) -> Said:
    if words[0] == "linnaeus":
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, (words, done.output, done.exception)
        return Said(done.stdout, done.stderr)
    program = [sys.executable, *words[1:]]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, (words, ended.stderr)
    return Said(ended.stdout, ended.stderr)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to type commands in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def workspace(here: Path) -> Workspace:
    """Where the commands put everything."""
    return Workspace(str(here / "workspace"))


def random_weights(build: Callable[..., Any], size: int, to: Path) -> None:
    """Write weights that keep the size of activations, as trained ones do (He et al., 2015)."""
    network = build(include_top=False, weights=None, input_shape=(size, size, 3))
    random = np.random.default_rng(0)

    def drawn(old: Any) -> Any:
        if old.ndim != 4:
            return old
        height, width, channels, outputs = old.shape
        inputs = height * width * (channels if outputs > 1 else 1)  # 1: a depthwise kernel
        return random.normal(0, (2 / inputs) ** 0.5, old.shape)

    network.set_weights([drawn(old) for old in network.get_weights()])
    network.save_weights(to)


def verdicts(page: Path) -> list[str]:
    """`right` or `wrong` of each titled picture of a report."""
    return re.findall(r'class="title (right|wrong)', page.read_text())


def test_flowers_are_labelled_by_the_demo_and_by_retrains_lines(here, workspace, monkeypatch):
    fill(here / "flower_photos", 16)
    with tarfile.open(here / "flowers.tgz", "w:gz") as archive:
        archive.add(here / "flower_photos", "flower_photos")
    monkeypatch.setenv(URL_VARIABLE, (here / "flowers.tgz").as_uri())
    (here / "daisy.jpg").write_bytes((here / "flower_photos/daisy/001.jpg").read_bytes())
    demo, label, retrain, label_image = follow("Five kinds of flowers")
    assert "80 objects = 80 labelled + 0 failed" in demo.out
    assert workspace.status()["tables"]["objects"] == 80
    for said in (label, label_image):
        best = re.findall(r"^(\w+) \(score=(\d\.\d{5})\)$", said.out, re.MULTILINE)
        assert sorted(name for name, _ in best) == list(LABELS)
        assert best[0][0] == "daisy"
        assert float(best[0][1]) > 0.5
    final = re.search(r"^Final test accuracy = (\d+\.\d)% \(N=\d+\)$", retrain.out, re.MULTILINE)
    assert final
    assert float(final[1]) > 80
    assert (here / "flowers.txt").read_text().split() == list(LABELS)
    assert (here / "flowers.pb").stat().st_size > 10e6


def test_the_last_layers_of_vgg16_learn_photographs_that_are_split_in_folders(here, workspace):
    import keras

    random_weights(keras.applications.VGG16, 32, here / "vgg16.weights.h5")
    for split, images, first in (("train", 100, 0), ("val", 20, 1000), ("test", 20, 2000)):
        fill(here / "beer" / split, images, ("coffee", "daisy"), first)
    train, score, report = follow("Own photographs")
    assert train.accuracy > 0.7
    described = json.loads((here / "workspace/models/beer/1/linnaeus.json").read_text())
    assert described["labels"] == ["coffee", "daisy"]
    assert described["backbone"]["embedding_size"] == 1024
    assert described["metrics"]["test"]["images"] == 40
    assert "280 labelled, 0 failed" in score.err
    assert json.loads((here / "beer-labels/_SUCCESS.json").read_text())
    assert set(workspace.labels("beer").to_pandas()["label"]) == {"coffee", "daisy"}
    assert "<img" in Path(report.out.strip()).read_text()


def test_two_hidden_layers_learn_handwritten_digits_from_idx_files(here):
    import gzip

    from sklearn.datasets import load_digits

    every = load_digits()
    images = np.rint(every.images * 255 / 16).astype(np.uint8)
    test = np.arange(len(images)) % 5 == 0
    for name, rows in (("train", ~test), ("t10k", test)):
        for kind, values in (
            ("images-idx3", images),
            ("labels-idx1", every.target.astype(np.uint8)),
        ):
            file = here / f"{name}-{kind}-ubyte.gz"
            file.write_bytes(gzip.compress(write_idx(values[rows])))
    *_, train = follow("MNIST")
    assert len(list((here / "digits").rglob("*.png"))) == len(images)
    assert train.accuracy > 0.93
    assert f"on {test.sum()} images" in train.out


def test_a_hub_module_says_unknown_of_what_it_is_not_sure_of(here, workspace):
    tuning.module(here / "module")
    fill(here / "flowers", 60, largest=0.2)
    _, train, _ = follow("Any feature vector")
    described = json.loads((here / "workspace/models/hub/1/linnaeus.json").read_text())
    assert described["thresholds"]["target_precision"] == 0.95
    labels = workspace.labels("hub").to_pandas()
    unknown = labels["label"] == "unknown"
    assert 0 < unknown.sum() < len(labels)
    assert set(labels[~unknown]["label"]) <= set(LABELS)
    folder = labels["uri"].map(lambda uri: Path(uri).parent.name)
    assert (labels["label"] == folder)[~unknown].mean() > train.accuracy


def test_mobilenet_with_dropout_becomes_tflite_files_and_a_green_and_red_grid(here, workspace):
    import keras
    import tensorflow as tf

    random_weights(keras.applications.MobileNetV2, 96, here / "mobilenet_v2.weights.h5")
    fill(here / "flowers", 40)
    _, train, report, _, tflite = follow("MobileNet v2")
    assert train.accuracy > 0.4  # of five labels
    frame = workspace.labels("five").to_pandas()
    assert len(frame) == 200
    photo = (here / "flowers/cat/000.jpg").read_bytes()
    model = tf.saved_model.load("workspace/models/five/1").signatures["serving_default"]
    said = model(image_bytes=tf.constant([photo]))
    row = frame[frame["uri"].str.endswith("cat/000.jpg")].iloc[0]
    assert said["label"].numpy()[0].decode() == row["label"]
    assert said["confidence"].numpy()[0] == pytest.approx(row["confidence"], abs=0.1)
    sizes = {path.name: path.stat().st_size for path in (here / "small").glob("*.tflite")}
    assert sizes["five-dynamic.tflite"] < sizes["five-float32.tflite"] / 3
    assert all(f"{size:,}" in tflite.out for size in sizes.values())
    assert set(verdicts(Path(report.out.strip()))) == {"right", "wrong"}
    assert scores_of(here / "small/five-float32.tflite", photo) == pytest.approx(
        said["scores"].numpy()[0], abs=0.02
    )


def scores_of(file: Path, photo: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    from linnaeus import images

    model = Interpreter(model_path=str(file))
    height, width = model.get_input_details()[0]["shape"][1:3]
    pixels = images.decode(photo, height, width).pixels
    return model.get_signature_runner()(pixels=pixels[np.newaxis])["scores"][0]
