from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from linnaeus import backbones, images, manifests, preparation
from linnaeus.backbones import BackboneSpec
from linnaeus.cli.app import app
from linnaeus.cli.models import small_models_text
from linnaeus.errors import ConfigurationError
from linnaeus.manifests import Manifest
from linnaeus.manifests.splits import retrain_split, root_relative
from linnaeus.models import Model, ModelBackbone, load_model
from linnaeus.storage import Folder
from linnaeus.training.config import SplitConfig
from linnaeus.training.data.embedding import embed_missing
from linnaeus.training.evaluation.decisions import DecisionRule
from linnaeus.training.exporting.publication import publishing
from linnaeus.training.heads.head import Dense, Head
from linnaeus.training.tflite.export import Export, SmallModels, accuracy, export_tflite, scores
from linnaeus.training.tflite.pictures import LabelledPictures

pytestmark = pytest.mark.slow

LABELS = ("blue", "grün", "red")
CHANNELS = (2, 1, 0)
SIZE = 12


def paint(folder: Path, pictures: int = 30) -> Path:
    """Noisy pictures with a little more of one colour, so that some are called wrongly."""
    rng = np.random.default_rng(0)
    for channel, label in zip(CHANNELS, LABELS, strict=True):
        (folder / label).mkdir(parents=True)
        for number in range(pictures):
            pixels = rng.integers(0, 236, (SIZE, SIZE, 3))
            pixels[..., channel] += 8
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.png")
    return folder


def more_of_its_colour() -> Head:
    """Scores a picture's mean red, green and blue."""
    kernel = np.zeros((SIZE * SIZE, 3, len(LABELS)), np.float32)
    for output, channel in enumerate(CHANNELS):
        kernel[:, channel, output] = 1
    return Head((Dense(kernel.reshape(-1, len(LABELS)), np.zeros(len(LABELS), np.float32)),))


def publish(workspace: Folder, manifest: Manifest, spec: BackboneSpec) -> Model:
    from linnaeus.training.exporting.export import TrainedModel, write_saved_model

    files = backbones.local_files(workspace, spec.fingerprint)
    trained = TrainedModel("colours", DecisionRule(LABELS), more_of_its_colour(), spec, files)
    with publishing(workspace, "colours") as draft:
        write_saved_model(trained, draft.folder)
        model = Model(
            "colours",
            draft.version,
            LABELS,
            ModelBackbone.of(spec),
            hyperparameters={"split": asdict(SplitConfig(testing_percentage=40))},
            data={"source": manifest.source},
        )
        (draft.folder / "linnaeus.json").write_text(model.to_json())
    return load_model(workspace, "colours")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(str(tmp_path_factory.mktemp("tflite") / "workspace"))


@pytest.fixture(scope="module")
def manifest(workspace: Folder) -> Manifest:
    return manifests.freeze(workspace, str(paint(Path(workspace.uri).parent / "colours")))


@pytest.fixture(scope="module")
def model(workspace: Folder, manifest: Manifest) -> Model:
    spec = preparation.prepare(workspace, f"pixels@{SIZE}")
    embed_missing(workspace, manifest, spec)
    return publish(workspace, manifest, spec)


@pytest.fixture(scope="module")
def made(workspace: Folder, manifest: Manifest, model: Model) -> SmallModels:
    return export_tflite(workspace, manifest, model, Export(f"{workspace.uri}-small"))


def test_every_kind_is_written_and_described(made: SmallModels, workspace: Folder):
    folder = Path(f"{workspace.uri}-small")
    described = json.loads((folder / "tflite.json").read_text("utf-8"))
    assert described == made.to_dict()
    assert described["labels"] == list(LABELS)
    assert [file.kind for file in made.files] == ["float32", "dynamic", "int8"]
    assert all(Path(file.uri).stat().st_size == file.size_bytes for file in made.files)
    assert {Path(file.uri) for file in made.files} == set(folder.glob("*.tflite"))


def test_the_accuracy_is_that_of_the_file_on_the_test_images(
    made: SmallModels, manifest: Manifest, workspace: Folder
):
    listed = manifests.load(workspace, manifest.id)
    labelled = listed.select(["uri", "label"]).to_pylist()
    tested = [
        row
        for row in labelled
        if retrain_split(root_relative(manifest.source, row["uri"]), 10, 40) == "test"
    ]
    assert made.test_images == len(tested) > 20
    pixels = [images.decode(Path(row["uri"]).read_bytes(), SIZE, SIZE).pixels for row in tested]
    truth = np.array([LABELS.index(row["label"]) for row in tested])
    for file in made.files:
        found = scores(Path(file.uri).read_bytes(), np.stack(pixels)).argmax(axis=1)
        assert file.accuracy == pytest.approx((found == truth).mean())
    assert 0.5 < made.files[0].accuracy < 1
    assert made.files[0].accuracy == made.accuracy


def test_calibration_uses_training_images_alone(made: SmallModels):
    assert 20 < made.calibration_images < 90 - made.test_images


def test_an_accuracy_that_fell_is_warned_of_in_words(made: SmallModels):
    lost = replace(made.files[0], kind="int8", points_lost=4.84, falls_short=True)
    text = small_models_text(replace(made, files=(lost,)))
    assert text.splitlines()[-1].startswith("Warning: the int8 file lost 4.8 percentage points")
    unharmed = small_models_text(replace(made, files=made.files[:1]))
    assert "Warning" not in unharmed
    assert f"{made.files[0].size_bytes:,}" in unharmed


def test_the_command_does_the_same(workspace: Folder, manifest: Manifest, model: Model):
    output = f"{workspace.uri}-by-command"
    arguments = ["--model", model.name, "--output", output, "--kind", "float32"]
    common = ["--workspace", workspace.uri, "--json"]
    result = CliRunner().invoke(app, ["tflite", manifest.source, *arguments, *common])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    written = json.loads((Path(output) / "tflite.json").read_text("utf-8"))
    assert {"schema_version": 1, **shown} == written
    assert [file["kind"] for file in shown["files"]] == ["float32"]


def test_a_picture_of_several_labels_is_right_when_all_of_them_are(model: Model):
    found = np.array([[0.9, 0.6, 0.1], [0.9, 0.4, 0.1], [0.2, 0.2, 0.2]], np.float32)
    truth = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], np.uint8)
    pictures = LabelledPictures(np.zeros((3, 1, 1, 3), np.uint8), truth)
    multi = replace(model, task="multi")
    assert accuracy(found, pictures, multi) == pytest.approx(2 / 3)
    assert accuracy(found, pictures, replace(multi, thresholds={"grün": 0.3})) == 1


def test_an_unknown_kind_is_refused_before_anything_is_read():
    with pytest.raises(ConfigurationError, match="'int4'"):
        Export("small", ["int4"])


def test_images_without_labels_are_refused(workspace: Folder, model: Model, tmp_path: Path):
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "one.png")
    unlabelled = manifests.freeze(workspace, str(tmp_path))
    with pytest.raises(ConfigurationError, match="no labelled picture"):
        export_tflite(workspace, unlabelled, model, Export(str(tmp_path / "small")))
    assert not (tmp_path / "small").exists()


def test_a_label_that_the_model_does_not_know_is_refused(
    workspace: Folder, model: Model, tmp_path: Path
):
    (tmp_path / "violet").mkdir()
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "violet" / "one.png")
    other = manifests.freeze(workspace, str(tmp_path))
    embed_missing(workspace, other, backbones.load_spec(workspace, model.fingerprint))
    with pytest.raises(ConfigurationError, match="'violet'"):
        export_tflite(workspace, other, model, Export(str(tmp_path / "small")))
