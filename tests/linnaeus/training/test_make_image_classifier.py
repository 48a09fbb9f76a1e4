from __future__ import annotations

import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from linnaeus.augmentation_settings import Augmentation
from linnaeus.errors import ConfigurationError
from linnaeus.models import load_model, versions
from linnaeus.storage import Folder
from linnaeus.training.config import FineTuningConfig, LayersConfig, SplitConfig
from linnaeus.training.drop_in.flags import parse
from linnaeus.training.make_image_classifier import ClassifierFlags, configuration
from tests.linnaeus.training.command_lines import digits, run

slow = pytest.mark.slow

LABELS = ["Digit 0", "Digit 1", "Digit 2"]
ORIGINAL = {
    "tfhub_module": "https://tfhub.dev/google/tf2-preview/mobilenet_v2/feature_vector/4",
    "image_size": None,
    "assert_accuracy_at_least": None,
    "train_epochs": 5,
    "do_fine_tuning": False,
    "batch_size": 32,
    "learning_rate": 0.005,
    "momentum": 0.9,
    "dropout_rate": 0.2,
    "set_memory_growth": False,
    "l1_regularizer": 0.0,
    "l2_regularizer": 0.0001,
    "label_smoothing": 0.1,
    "validation_split": 0.2,
    "do_data_augmentation": False,
    "rotation_range": 40,
    "horizontal_flip": True,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 0.2,
    "zoom_range": 0.2,
}
WITHOUT_DEFAULT = {
    "image_dir",
    "saved_model_dir",
    "tflite_output_file",
    "labels_output_file",
    "summaries_dir",
    "distribution_strategy",
}


def flags(line: str = "") -> ClassifierFlags:
    return parse(ClassifierFlags, "linnaeus.training.make_image_classifier", line.split())


def test_every_flag_of_the_original_is_there_with_its_default() -> None:
    """Must 7: every hyperparameter."""
    found = asdict(flags())
    assert found.items() >= ORIGINAL.items()
    assert {name for name in WITHOUT_DEFAULT if not found[name]} == WITHOUT_DEFAULT


def test_the_training_is_the_originals_with_a_test_set() -> None:
    config = configuration(flags("--tfhub_module=pixels --image_size 8"))
    assert config.backbone == "pixels@8"
    assert config.split == SplitConfig(20, 10)
    assert config.head == "layers"
    assert config.layers == LayersConfig(
        dropout=0.2,
        l2=1e-4,
        label_smoothing=0.1,
        batch_size=32,
        optimizer="sgd",
        learning_rate=0.005,
        momentum=0.9,
        epochs=5,
        patience=5,
    )
    assert not config.augmentation.varies
    assert config.fine_tuning is None
    assert config.gate.accuracy_at_least is None


def test_augmentation_has_its_defaults_in_degrees_and_shares() -> None:
    varied = configuration(flags("--do_data_augmentation")).augmentation
    assert varied == Augmentation(
        horizontal_flip=True, rotation=40, width_shift=0.2, height_shift=0.2, zoom=0.2
    )
    line = "--do_data_augmentation --nohorizontal_flip --rotation_range=9 --zoom_range=0.5"
    varied = configuration(flags(line)).augmentation
    assert (varied.horizontal_flip, varied.rotation, varied.zoom) == (False, 9, 0.5)


def test_fine_tuning_takes_the_same_settings() -> None:
    config = configuration(flags("--do_fine_tuning --train_epochs 3 --assert_accuracy_at_least .9"))
    assert config.fine_tuning == FineTuningConfig(
        dropout=0.2,
        label_smoothing=0.1,
        l2=1e-4,
        batch_size=32,
        optimizer="sgd",
        learning_rate=0.005,
        momentum=0.9,
        epochs=3,
        patience=3,
    )
    assert config.gate.accuracy_at_least == 0.9


def test_what_cannot_be_had_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="--l1_regularizer"):
        configuration(flags("--do_fine_tuning --l1_regularizer=0.1"))
    with pytest.raises(ConfigurationError, match="--distribution_strategy"):
        flags("--distribution_strategy=tpu")


@dataclass(frozen=True)
class Made:
    """A finished run of the old command line."""

    folder: Path
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("classifier")
    digits(folder / "pictures")
    line = """--image_dir=pictures --tfhub_module=pixels --image_size=8 --workspace=workspace
        --saved_model_dir saved --tflite_output_file=out/model.tflite --train_epochs=20
        --labels_output_file=out/labels.txt --summaries_dir=logs --batch_size=16
        --assert_accuracy_at_least=0.5 --set_memory_growth --distribution_strategy=mirrored"""
    done = run("make_image_classifier", *line.split(), folder=folder)
    assert done.returncode == 0, done.stderr
    return Made(folder, done)


@slow
def test_it_says_what_it_found_reached_and_wrote(made: Made) -> None:
    passed, found, final, *written = made.done.stdout.splitlines()
    assert found == "Found 3 classes: Digit 0, Digit 1, Digit 2"
    match = re.fullmatch(r"Final test accuracy = (\d+\.\d)% \(N=(\d+)\)", final)
    assert match, final
    assert float(match[1]) > 80
    accuracy = re.fullmatch(r"ACCURACY PASSED: found (0\.\d+|1\.0+), expected .* 0\.500000", passed)
    assert accuracy, passed
    assert 100 * float(accuracy[1]) == pytest.approx(float(match[1]), abs=0.06)
    assert written[:2] == ["Labels written to out/labels.txt", "SavedModel model exported to saved"]
    assert re.fullmatch(
        r"TFLite model exported to out/model\.tflite: 0\.0 MB, accuracy .*%.*", written[2]
    )


@slow
def test_labels_saved_model_and_summaries_are_written(made: Made) -> None:
    import tensorflow as tf

    assert (made.folder / "out" / "labels.txt").read_text() == "Digit 0\nDigit 1\nDigit 2\n"
    for name in ("train", "validation"):
        assert list((made.folder / "logs" / name).glob("events.out.tfevents.*")), name
    loaded = tf.saved_model.load(str(made.folder / "saved"))
    scores = loaded(tf.zeros([2, 8, 8, 3]))
    assert scores.shape == (2, len(LABELS))
    assert np.allclose(tf.reduce_sum(scores, axis=1), 1, atol=1e-5)


@slow
def test_the_tflite_file_scores_pixels_as_the_saved_model_scores_numbers(made: Made) -> None:
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    small = Interpreter(str(made.folder / "out" / "model.tflite")).get_signature_runner()
    loaded = tf.saved_model.load(str(made.folder / "saved"))
    expected = loaded(tf.constant(pixels / 255, tf.float32)).numpy()
    assert np.allclose(small(pixels=pixels)["scores"], expected, atol=1e-5)


@slow
def test_a_model_below_the_asserted_accuracy_is_exported_nowhere(made: Made) -> None:
    """Must 10: an accuracy gate before export."""
    line = """--image_dir=pictures --tfhub_module=pixels@2 --workspace=workspace --train_epochs=1
        --saved_model_dir=failed --labels_output_file=failed.txt --assert_accuracy_at_least=0.999
        --learning_rate=1e-9"""
    before = versions(Folder(str(made.folder / "workspace")), "classifier")
    done = run("make_image_classifier", *line.split(), folder=made.folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ACCURACY FAILED: ")
    assert not (made.folder / "failed").exists()
    assert not (made.folder / "failed.txt").exists()
    assert versions(Folder(str(made.folder / "workspace")), "classifier") == before


@slow
@pytest.mark.soak
def test_fewer_pictures_than_a_batch_train_with_varied_views(tmp_path: Path) -> None:
    digits(tmp_path / "pictures", labels=2, images_a_label=10)
    line = """--image_dir=pictures --tfhub_module=pixels@8 --workspace=workspace
        --train_epochs=3 --do_data_augmentation --views=1 --labels_output_file=labels.txt"""
    done = run("make_image_classifier", *line.split(), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Final test accuracy = " in done.stdout
    model = load_model(Folder(str(tmp_path / "workspace")), "classifier")
    assert 0 < model.data["images"]["train"] < 32
    assert len(model.curve) == 3
