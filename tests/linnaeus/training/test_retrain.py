from __future__ import annotations

import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.manifests.splits import retrain_split
from linnaeus.models import load_model
from linnaeus.storage import Folder
from linnaeus.training.config import LayersConfig, SplitConfig
from linnaeus.training.drop_in.flags import parse
from linnaeus.training.drop_in.programs import Log
from linnaeus.training.retrain import RetrainFlags, configuration, retrain
from tests.linnaeus.training.command_lines import digits, run

slow = pytest.mark.slow

LABELS = ["Digit 0", "Digit 1", "Digit 2"]
ORIGINAL = {
    "image_dir": "",
    "output_graph": "/tmp/output_graph.pb",
    "intermediate_output_graphs_dir": "/tmp/intermediate_graph/",
    "intermediate_store_frequency": 0,
    "output_labels": "/tmp/output_labels.txt",
    "summaries_dir": "/tmp/retrain_logs",
    "how_many_training_steps": 4000,
    "learning_rate": 0.01,
    "testing_percentage": 10,
    "validation_percentage": 10,
    "eval_step_interval": 10,
    "train_batch_size": 100,
    "test_batch_size": -1,
    "validation_batch_size": 100,
    "print_misclassified_test_images": False,
    "bottleneck_dir": "/tmp/bottleneck",
    "final_tensor_name": "final_result",
    "flip_left_right": False,
    "random_crop": 0,
    "random_scale": 0,
    "random_brightness": 0,
    "tfhub_module": "https://tfhub.dev/google/imagenet/inception_v3/feature_vector/1",
    "saved_model_dir": "",
    "checkpoint_path": "/tmp/_retrain_checkpoint",
    "logging_verbosity": "INFO",
}


def test_every_flag_of_the_original_is_there_with_its_default() -> None:
    """Must 7: every hyperparameter."""
    assert asdict(parse(RetrainFlags, "linnaeus.training.retrain", [])).items() >= ORIGINAL.items()


def test_the_training_is_the_originals(tmp_path: Path) -> None:
    config = configuration(RetrainFlags(image_dir=str(tmp_path), tfhub_module="pixels@8"))
    assert config.backbone == "pixels@8"
    assert config.split == SplitConfig(10, 10, "full-path", root=str(tmp_path))
    assert config.head == "layers"
    assert config.layers == LayersConfig(
        hidden=(),
        dropout=0,
        l1=0,
        l2=0,
        label_smoothing=0,
        batch_size=100,
        sampling="balanced",
        optimizer="sgd",
        learning_rate=0.01,
        steps=4000,
    )
    assert not config.augmentation.varies


def test_each_flag_reaches_its_setting(tmp_path: Path) -> None:
    line = f"""--image_dir={tmp_path} --learning_rate 0.5 --how_many_training_steps=7
        --train_batch_size 9 --testing_percentage=20 --validation_percentage 15
        --flip_left_right --random_crop=5 --random_scale=6 --random_brightness=7 --views=2
        --split_by=root-relative --tfhub_module=efficientnet-lite0"""
    config = configuration(parse(RetrainFlags, "linnaeus.training.retrain", line.split()))
    layers, varied = config.layers, config.augmentation
    assert (layers.learning_rate, layers.steps, layers.batch_size) == (0.5, 7, 9)
    assert config.split == SplitConfig(15, 20, "root-relative")
    assert varied.horizontal_flip
    assert (varied.random_crop, varied.random_scale, varied.random_brightness) == (5, 6, 7)
    assert (config.views, config.backbone) == (2, "efficientnet-lite0")


def test_an_architecture_names_the_network_and_excludes_a_module(tmp_path: Path) -> None:
    flags = RetrainFlags(str(tmp_path), architecture="mobilenet_0.50_224", model_dir=str(tmp_path))
    assert configuration(flags).backbone.endswith("mobilenet_v1_050_224/feature_vector/5")
    both = RetrainFlags(str(tmp_path), architecture="inception_v3", tfhub_module="pixels")
    with pytest.raises(ConfigurationError, match="not both"):
        configuration(both)


def test_no_steps_between_looks_at_validation_are_refused(tmp_path: Path) -> None:
    flags = RetrainFlags(str(tmp_path), eval_step_interval=0)
    with pytest.raises(ConfigurationError, match="--eval_step_interval is at least 1"):
        retrain(flags, Log())


def test_a_module_may_be_a_folder_as_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    flags = RetrainFlags(str(tmp_path), tfhub_module="modules/mine")
    assert configuration(flags).backbone == str(tmp_path / "modules" / "mine")


def test_no_folder_or_one_folder_of_images_is_refused(tmp_path: Path) -> None:
    from linnaeus.training.drop_in.inputs import listed

    workspace = Folder(str(tmp_path / "workspace"))
    one = digits(tmp_path / "one", labels=1, images_a_label=2)
    with pytest.raises(ConfigurationError, match="Only one valid folder of images found at"):
        listed(workspace, str(one), Log())
    with pytest.raises(ConfigurationError, match="No valid folders of images found at"):
        listed(workspace, str(one / "Digit 0"), Log())


def test_a_folder_of_few_images_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from linnaeus.training.drop_in.inputs import listed

    pictures = digits(tmp_path / "few", labels=2, images_a_label=20)
    next((pictures / "Digit 1").iterdir()).unlink()
    listed(Folder(str(tmp_path / "workspace")), str(pictures), Log())
    (line,) = capsys.readouterr().err.splitlines()
    assert line == ("WARNING: Folder 'Digit 1' has less than 20 images, which may cause issues.")


@dataclass(frozen=True)
class Retrained:
    """A finished run of the old command line."""

    folder: Path
    done: subprocess.CompletedProcess[str]

    @property
    def files(self) -> list[str]:
        """The pictures as `--image_dir` began them."""
        below = self.folder / "pictures"
        return [f"pictures/{path.relative_to(below)}" for path in below.glob("*/*")]


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Retrained:
    folder = tmp_path_factory.mktemp("retrain")
    pictures = digits(folder / "pictures")
    (pictures / "Digit 2" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    line = """--image_dir pictures --tfhub_module=pixels@2 --bottleneck_dir=bottlenecks
        --how_many_training_steps=60 --train_batch_size=20 --eval_step_interval=20
        --learning_rate=0.01 --output_graph=out/graph.pb --output_labels=out/labels.txt
        --summaries_dir=logs --intermediate_output_graphs_dir=middle
        --intermediate_store_frequency=25 --saved_model_dir=saved/1 --checkpoint_path=out/weights
        --validation_percentage=15 --testing_percentage=20 --print_misclassified_test_images"""
    done = run("retrain", *line.split(), folder=folder)
    assert done.returncode == 0, done.stderr
    return Retrained(folder, done)


@slow
def test_the_final_line_gives_the_accuracy_on_the_originals_test_split(
    retrained: Retrained,
) -> None:
    """Must 2: the retrain split reproduced to the digit, of paths as they were typed."""
    splits = [retrain_split(path, 15, 20) for path in retrained.files if "broken" not in path]
    first = retrained.done.stdout.splitlines()[0]
    match = re.fullmatch(r"Final test accuracy = (\d+\.\d)% \(N=(\d+)\)", first)
    assert match, first
    assert int(match[2]) == splits.count("test")
    assert float(match[1]) > 40
    model = load_model(Folder(str(retrained.folder / "bottlenecks")), "retrained")
    assert float(match[1]) == pytest.approx(100 * model.metrics["test"]["accuracy"], abs=0.05)
    assert model.data["images"] == {
        name: splits.count(name) for name in ("train", "validation", "test")
    }


@slow
def test_misclassified_test_images_are_listed_with_what_they_were_taken_for(
    retrained: Retrained,
) -> None:
    """Must 7: the final test report with misclassified pictures."""
    final, heading, *lines = retrained.done.stdout.splitlines()
    accuracy, images = re.findall(r"[\d.]+", final)
    assert heading == "=== MISCLASSIFIED TEST IMAGES ==="
    assert len(lines) == round((1 - float(accuracy) / 100) * int(images)) > 0
    for line in lines:
        path, label = re.fullmatch(r" *(/.*\.(?:jpg|png))  (Digit \d)", line).groups()  # type: ignore[union-attr]
        assert Path(path).exists()
        assert Path(path).parent.name != label


@slow
def test_a_broken_image_is_named_and_costs_nothing_else(retrained: Retrained) -> None:
    """Must 5: a failed image is told with its reason."""
    (line,) = [one for one in retrained.done.stderr.splitlines() if "broken.jpg" in one]
    assert re.fullmatch(r"WARNING: .*broken\.jpg is left out: [A-Z_]+", line)


@slow
def test_progress_is_told_as_the_original_told_it(retrained: Retrained) -> None:
    for step in (20, 40, 60):
        for what in (r"Train accuracy = [\d.]+%", r"Cross entropy = [\d.]+"):
            assert re.search(rf"Step {step}: {what}", retrained.done.stderr), (step, what)
    assert re.search(r"Step 60: Validation accuracy = [\d.]+%", retrained.done.stderr)


@slow
def test_labels_are_written_as_the_folders_are(retrained: Retrained) -> None:
    """Must 3: labels kept as written, sorted."""
    assert (retrained.folder / "out" / "labels.txt").read_text() == "Digit 0\nDigit 1\nDigit 2\n"


@slow
def test_the_graph_labels_a_picture_by_the_old_command(retrained: Retrained) -> None:
    picture = next((retrained.folder / "pictures" / "Digit 1").iterdir())
    line = """--graph=out/graph.pb --labels=out/labels.txt --input_layer=Placeholder
        --output_layer=final_result"""
    done = run("label_image", *line.split(), f"--image={picture}", folder=retrained.folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(LABELS)
    for one in lines:
        assert re.fullmatch(r"Digit [012] \(score=(0\.\d{5}|1\.00000)\)", one), one


@slow
def test_graphs_are_written_on_the_way(retrained: Retrained) -> None:
    from linnaeus.training.exporting.frozen_graph import FrozenGraph

    written = sorted(path.name for path in (retrained.folder / "middle").iterdir())
    assert written == ["intermediate_25.pb", "intermediate_50.pb"]
    for name in written:
        graph = FrozenGraph(retrained.folder / "middle" / name)
        assert graph.size_of("Placeholder") == (2, 2)
        assert graph.has("final_result")


@slow
def test_the_checkpoint_holds_the_last_layer(retrained: Retrained) -> None:
    import tensorflow as tf

    stored = tf.train.load_checkpoint(str(retrained.folder / "out" / "weights"))
    shapes = list(stored.get_variable_to_shape_map().values())
    assert [2 * 2 * 3, len(LABELS)] in shapes


@slow
def test_summaries_are_written_for_training_and_validation(retrained: Retrained) -> None:
    for name in ("train", "validation"):
        assert list((retrained.folder / "logs" / name).glob("events.out.tfevents.*")), name


@slow
def test_the_saved_model_takes_a_float_image_and_gives_a_prediction(retrained: Retrained) -> None:
    """Must 8: a SavedModel, here with the original's names."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(retrained.folder / "saved" / "1"))
    serve = loaded.signatures["serving_default"]
    (image,) = serve.structured_input_signature[1].values()
    assert (image.name, image.dtype) == ("image", tf.float32)
    assert image.shape.as_list() == [None, 2, 2, 3]
    assert serve.structured_outputs["prediction"].shape.as_list() == [None, len(LABELS)]


@pytest.mark.soak
@slow
def test_the_same_line_again_embeds_nothing_and_refuses_a_filled_export(
    retrained: Retrained,
) -> None:
    """Must 4: the bottleneck cache, keyed on content."""
    base = """--image_dir pictures --tfhub_module=pixels@2 --bottleneck_dir=bottlenecks
        --how_many_training_steps=5 --output_graph=again/graph.pb --output_labels=again/labels.txt
        --summaries_dir=logs --checkpoint_path=again/weights"""
    filled = run("retrain", *base.split(), "--saved_model_dir=saved/1", folder=retrained.folder)
    assert (filled.returncode, filled.stdout) == (2, "")
    assert "saved/1 has files in it already" in filled.stderr
    again = run("retrain", *base.split(), folder=retrained.folder)
    assert again.returncode == 0, again.stderr
    assert " embedded, " not in again.stderr
    assert load_model(Folder(str(retrained.folder / "bottlenecks")), "retrained").version == 2


@slow
@pytest.mark.soak
def test_the_real_network_learns_from_distorted_pictures(tmp_path: Path) -> None:
    digits(tmp_path / "pictures", labels=2, images_a_label=20)
    line = """--image_dir=pictures --tfhub_module=efficientnet-lite0 --bottleneck_dir=bottlenecks
        --how_many_training_steps=20 --output_graph=graph.pb --output_labels=labels.txt
        --summaries_dir=logs --checkpoint_path=weights --flip_left_right --random_brightness=10
        --views=1 --logging_verbosity=WARN --split_by=root-relative"""
    done = run("retrain", *line.split(), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"Final test accuracy = \d+\.\d% \(N=\d+\)\n", done.stdout)
    assert (tmp_path / "graph.pb").stat().st_size > 10e6


@slow
def test_a_module_out_of_reach_names_one_that_needs_no_internet(tmp_path: Path) -> None:
    digits(tmp_path / "pictures", labels=2, images_a_label=20)
    module = "https://modules.invalid/inception/feature_vector/1"
    line = f"--image_dir=pictures --tfhub_module={module} --bottleneck_dir=bottlenecks".split()
    done = run("retrain", *line, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (error,) = done.stderr.splitlines()
    assert module in error
    assert "--tfhub_module efficientnet-lite0" in error
