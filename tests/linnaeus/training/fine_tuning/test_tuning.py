import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnaeus import manifests
from linnaeus.augmentation_settings import Augmentation
from linnaeus.backbones import BackboneSpec, local_files
from linnaeus.errors import ConfigurationError
from linnaeus.preparation import prepare
from linnaeus.progress.steps import PlainProgress
from linnaeus.storage import Folder
from linnaeus.tables import EmbeddingTable
from linnaeus.training.checkpoints import StoredCheckpoints
from linnaeus.training.config import FineTuningConfig, TrainConfig
from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.evaluation.metrics import log_loss
from linnaeus.training.heads.head import log_softmax
from linnaeus.training.monitoring import Monitoring
from tests.linnaeus.training import tuning

pytestmark = pytest.mark.slow

QUICK = FineTuningConfig(
    dropout=0.2, batch_size=8, optimizer="adam", learning_rate=0.01, epochs=4, patience=4
)

LAST_LAYERS = replace(
    QUICK, layers=5, pooling="flatten", hidden=12, learning_rate=1e-3, epochs=5, patience=5
)


@dataclass(frozen=True)
class Shapes:
    """A workspace, drawn shapes, and a backbone's embeddings of them."""

    workspace: Folder
    files: list[Path]
    spec: BackboneSpec
    data: LabelledEmbeddings


def shapes(folder: Path, backbone: str) -> Shapes:
    workspace = Folder(str(folder / "workspace"))
    files = tuning.draw(folder / "shapes")
    spec = prepare(workspace, backbone)
    return Shapes(workspace, files, spec, tuning.labelled(workspace, spec, files))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    """With the module of one convolution."""
    folder = tmp_path_factory.mktemp("small")
    return shapes(folder, tuning.module(folder / "module"))


def tune(of: Shapes, settings: FineTuningConfig = QUICK, **options: Any) -> Any:
    from linnaeus.training.fine_tuning.tuning import fine_tune

    config = options.pop("config", TrainConfig(fine_tuning=settings))
    return fine_tune(of.workspace, of.spec, options.pop("data", of.data), config, **options)


def variables(of: Shapes, fingerprint: str) -> list[Any]:
    """The base's variables as a SavedModel has them."""
    import tensorflow as tf

    folder = local_files(of.workspace, fingerprint) / "tensorflow"
    parts = tf.saved_model.load(str(folder)).parts
    return [variable.numpy() for variable in (parts[0] if isinstance(parts[0], list) else parts)]


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    return shapes(tmp_path_factory.mktemp("lite"), "efficientnet-lite0@32")


@pytest.fixture(scope="module")
def last_layers(lite: Shapes) -> Any:
    """Five layers of EfficientNet-Lite, two of them convolutions, and a dense one."""
    return tune(lite, LAST_LAYERS)


def test_training_gets_better_and_only_the_last_layers_change(lite: Shapes, last_layers: Any):
    curve = last_layers.curve
    assert curve[-1].train_loss < 0.7 * curve[0].train_loss
    assert curve[-1].train_accuracy > max(curve[0].train_accuracy, 0.8)
    before, after = (
        variables(lite, lite.spec.fingerprint),
        variables(lite, last_layers.spec.fingerprint),
    )
    changed = [not np.array_equal(one, two) for one, two in zip(before, after, strict=True)]
    # Two convolutions, each with scale and offset behind it, but not with mean and variance.
    assert changed[-10:] == [True, True, True, False, False] * 2
    assert not any(changed[:-10])


def test_the_head_says_of_every_engines_embeddings_what_the_trained_network_said(
    lite: Shapes, last_layers: Any
):
    rows = lite.data.slices["validation"]
    best = min(point.validation_loss for point in last_layers.curve)
    assert set(last_layers.spec.engines) == {"openvino", "litert", "tensorflow"}
    for engine in last_layers.spec.engines:
        rows_of = tuning.embeddings(lite.workspace, last_layers.spec, lite.files[rows], engine)
        assert rows_of.shape[1] == last_layers.spec.embedding_size == 12
        loss = log_loss(
            log_softmax(last_layers.head.logits(rows_of)),
            lite.data.rows.targets[rows],
            np.ones(len(rows_of), np.float32),
        )
        assert loss == pytest.approx(best, rel=1e-3)


def test_a_tuned_backbone_is_found_by_its_name_and_says_where_it_comes_from(
    lite: Shapes, last_layers: Any
):
    spec = last_layers.spec
    assert spec.name == f"tuned:{spec.fingerprint}"
    assert prepare(lite.workspace, spec.name) == spec
    assert spec.tuning.base == "efficientnet-lite0@32"
    assert spec.tuning.settings["layers"] == 5
    assert (spec.height, spec.width, spec.licence) == (32, 32, "Apache-2.0")
    assert spec.fingerprint != lite.spec.fingerprint


def test_a_tuned_backbone_embeds_a_bucket(lite: Shapes, last_layers: Any):
    from linnaeus.training.data.embedding import embed_missing

    manifest = manifests.freeze(lite.workspace, str(lite.files[0].parent))
    summary = embed_missing(lite.workspace, manifest, last_layers.spec)
    assert summary.counts.failed == 0
    table = EmbeddingTable(lite.workspace, last_layers.spec.fingerprint)
    vectors = np.concatenate([table.vectors(part) for part in table.parts])
    assert vectors.shape == (len(lite.files), 12)


@pytest.mark.soak
def test_a_tuned_backbone_comes_in_int8_too(lite: Shapes, last_layers: Any):
    def sample(height: int, width: int) -> Any:
        return tuning.pixels_of(lite.files, last_layers.spec)

    reduced = prepare(lite.workspace, last_layers.spec.name, "int8", sample)
    assert (reduced.name, reduced.precision) == (last_layers.spec.name, "int8")
    assert reduced.agreement["cosine_mean"] > 0.9
    assert reduced.tuning == last_layers.spec.tuning


def test_a_tuned_backbone_is_not_tuned_again(lite: Shapes, last_layers: Any):
    again = replace(lite, spec=last_layers.spec)
    with pytest.raises(ConfigurationError, match="begin with efficientnet-lite0@32"):
        tune(again)


@pytest.mark.soak
def test_the_vgg16_tutorials_settings_train_three_convolutions_and_a_dense_layer(tmp_path: Path):
    import keras

    keras.utils.set_random_seed(1)
    network = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    network.save_weights(tmp_path / "w.weights.h5")
    spec = BackboneSpec(f"vgg16@32?weights={tmp_path}/w.weights.h5", "", 32, 32, 3, "", "", "")
    files = tuning.draw(tmp_path / "shapes", images=24)
    data = tuning.labelled_pixels(files, spec)  # it begins at random, not from embeddings
    of = Shapes(Folder(str(tmp_path / "workspace")), files, spec, data)
    tutorial = FineTuningConfig(layers=4, pooling="flatten", hidden=32, epochs=3, batch_size=8)
    tuned = tune(of, tutorial)
    assert (tutorial.dropout, tutorial.optimizer, tutorial.learning_rate) == (0.5, "rmsprop", 1e-4)
    after = variables(of, tuned.spec.fingerprint)
    changed = [
        not np.array_equal(one, two) for one, two in zip(network.get_weights(), after, strict=True)
    ]
    assert changed == [False] * 20 + [True] * 6
    assert tuned.spec.embedding_size == 32
    assert set(tuned.spec.engines) == {"openvino", "litert", "tensorflow"}


def test_all_of_a_hub_module_is_trained_as_its_makers_meant_it(small: Shapes):
    settings = replace(
        QUICK, optimizer="sgd", momentum=0.9, learning_rate=0.02, label_smoothing=0.1
    )
    tuned = tune(small, settings)
    kernel, mean = (tuning_variable(small, tuned, name) for name in range(2))
    old_kernel, old_mean = (tuning_variable(small, None, name) for name in range(2))
    assert not np.array_equal(kernel, old_kernel)
    assert not np.array_equal(mean, old_mean)
    found = tuning.embeddings(small.workspace, tuned.spec, small.files, "openvino")
    expected = tuning.embeddings(small.workspace, tuned.spec, small.files, "tensorflow")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def tuning_variable(of: Shapes, tuned: Any, number: int) -> Any:
    import tensorflow as tf

    fingerprint = (tuned or of).spec.fingerprint
    folder = local_files(of.workspace, fingerprint) / "tensorflow"
    parts = tf.saved_model.load(str(folder)).parts
    return (parts if tuned is None else parts[0]).variables[number].numpy()


def test_equal_trainings_give_equal_backbones(small: Shapes):
    first, second = tune(small), tune(small)
    assert first.spec == second.spec
    assert first.curve == second.curve
    other = tune(small, config=TrainConfig(fine_tuning=QUICK, seed=1))
    assert other.spec.fingerprint != first.spec.fingerprint


def test_several_labels_an_image_are_learned(small: Shapes):
    rows = small.data.rows
    light = np.arange(len(rows)) % 3 == 0
    targets = np.stack([rows.targets == 0, rows.targets == 1, light], axis=1).astype(np.uint8)
    data = replace(
        small.data,
        rows=replace(rows, targets=targets),
        labels=("box", "disc", "third"),
        task="multi",
    )
    tuned = tune(small, data=data)
    assert tuned.head.layers[-1].bias.shape == (3,)
    assert tuned.curve[-1].train_loss < tuned.curve[0].train_loss


def test_images_without_weight_teach_nothing(small: Shapes):
    rows = small.data.rows
    boxes_alone = replace(rows, weights=(rows.targets == 0).astype(np.float32))
    settings = replace(QUICK, hidden=8, learning_rate=0.05)
    tuned = tune(small, settings, data=replace(small.data, rows=boxes_alone))
    vectors = tuning.embeddings(small.workspace, tuned.spec, small.files)
    assert set(tuned.head.logits(vectors).argmax(axis=1).tolist()) == {0}


def test_varied_pictures_are_other_ones_and_the_same_for_the_same_seed(small: Shapes):
    varied = Augmentation(horizontal_flip=True, zoom=0.2, rotation=20)
    config = TrainConfig(fine_tuning=replace(QUICK, hidden=4, epochs=2), augmentation=varied)
    first, second = tune(small, config=config), tune(small, config=config)
    plain = tune(small, config=replace(config, augmentation=Augmentation()))
    assert first.curve == second.curve
    assert first.curve[0].train_loss != plain.curve[0].train_loss


def test_a_picture_that_cannot_be_read_any_more_is_left_out(
    small: Shapes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    files = tuning.draw(tmp_path / "shapes")
    data = tuning.labelled(small.workspace, small.spec, files)
    files[0].unlink()
    files[1].write_bytes(b"broken")
    shutil.copy(files[3], files[2])
    tuned = tune(small, replace(QUICK, epochs=1), data=data, progress=PlainProgress())
    assert tuned.chosen["unreadable_images"] == 3
    assert "29 images, 3 cannot be read any more" in capsys.readouterr().err


def test_without_any_picture_the_error_says_so(small: Shapes, tmp_path: Path):
    files = tuning.draw(tmp_path / "shapes")
    data = tuning.labelled(small.workspace, small.spec, files)
    shutil.rmtree(tmp_path / "shapes")
    with pytest.raises(ConfigurationError, match="none of the 32 train images can be read"):
        tune(small, data=data)


def test_pixels_have_nothing_to_train(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"pixels@8 cannot.*no weights"):
        tune(shapes(tmp_path, "pixels@8"))


def test_a_loss_that_is_no_number_names_the_learning_rate(small: Shapes):
    settings = replace(QUICK, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(ConfigurationError, match=r"lower the learning rate, which is 1e\+30"):
        tune(small, settings)


def test_it_stops_when_validation_gets_no_better_and_keeps_the_best(small: Shapes):
    settings = replace(QUICK, optimizer="sgd", learning_rate=3.0, epochs=30, patience=2)
    tuned = tune(small, settings)
    losses = [point.validation_loss for point in tuned.curve]
    assert len(losses) < 30
    assert tuned.chosen["best_epoch"] == np.argmin(losses) + 1 == len(losses) - 2


def test_others_are_told_of_steps_and_epochs(small: Shapes, tmp_path: Path):
    from tensorflow.core.util.event_pb2 import Event

    steps, heads, points = [], [], []
    monitoring = Monitoring(
        str(tmp_path / "summaries"),
        every_steps=2,
        on_step=lambda step, head: (steps.append(step), heads.append(head())),
        on_point=points.append,
    )
    tuned = tune(small, replace(QUICK, epochs=2), monitoring=monitoring)
    assert steps == list(range(1, 9))
    assert not np.array_equal(heads[0].layers[0].kernel, heads[1].layers[0].kernel)
    assert tuple(points) == tuned.curve
    assert scalars(tmp_path / "summaries" / "train", Event)["accuracy_1"] == [2, 4, 6, 8]
    assert scalars(tmp_path / "summaries" / "validation", Event)["cross_entropy_1"] == [4, 8]


def scalars(run: Path, event: Any) -> dict[str, list[int]]:
    """The steps of each scalar of a run."""
    import tensorflow as tf

    steps: dict[str, list[int]] = {}
    for file in run.iterdir():
        for record in tf.compat.v1.io.tf_record_iterator(str(file)):
            parsed = event.FromString(record)
            for value in parsed.summary.value:
                steps.setdefault(value.tag, []).append(parsed.step)
    return steps


TO_KILL = replace(QUICK, hidden=6, epochs=6, patience=6)


def go_on(folder: Path, settings: FineTuningConfig = TO_KILL, **options: Any) -> Any:
    """Begins a training that keeps checkpoints, or goes on with it."""
    of = shapes(folder, tuning.module(folder / "module"))
    return tune(of, settings, checkpoints=StoredCheckpoints(of.workspace, {}), **options)


CHILD = """
import sys, time
from pathlib import Path
from tests.linnaeus.training.fine_tuning.test_tuning import go_on
from linnaeus.training.monitoring import Monitoring

def dawdle(point):
    if point.step == 3:
        time.sleep(600)

go_on(Path(sys.argv[1]), monitoring=Monitoring(on_point=dawdle))
"""


class Interrupted(Exception):  # noqa: N818
    pass


def interrupt_at_epoch_3(point: Any) -> None:
    if point.step == 3:
        raise Interrupted


def test_an_interrupted_training_goes_on_and_ends_as_if_it_had_not_been(
    tmp_path: Path, small: Shapes
):
    with pytest.raises(Interrupted):
        go_on(tmp_path, monitoring=Monitoring(on_point=interrupt_at_epoch_3))
    ends_as_if_undisturbed(tmp_path, small)


@pytest.mark.soak
def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path, small: Shapes):
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], cwd=Path.cwd())
    try:
        wait_for_epoch(tmp_path, 3, child)
    finally:
        os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    ends_as_if_undisturbed(tmp_path, small)


def ends_as_if_undisturbed(folder: Path, small: Shapes) -> None:
    kept = losses(folder)
    assert len(kept) == 3
    points: list[Any] = []
    resumed = go_on(folder, monitoring=Monitoring(on_point=points.append))
    assert [point.step for point in points] == [4, 5, 6]
    assert len(resumed.curve) == 6
    np.testing.assert_allclose([p.train_loss for p in resumed.curve[:3]], kept)
    whole = tune(small, TO_KILL)
    assert resumed.spec.fingerprint == whole.spec.fingerprint


def losses(folder: Path) -> list[float]:
    """The training losses that the checkpoint has."""
    kept = StoredCheckpoints(Folder(str(folder / "workspace")), {}).load("fine-tuning")
    return [] if kept is None else list(kept["curve"][:, 1])


def wait_for_epoch(folder: Path, epoch: int, child: Any) -> None:
    deadline = time.monotonic() + 120
    while len(losses(folder)) != epoch:
        assert time.monotonic() < deadline and child.poll() is None, "the child made no checkpoint"
        time.sleep(0.1)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path):
    go_on(tmp_path, replace(TO_KILL, epochs=1))
    with pytest.raises(ConfigurationError, match="is of another network"):
        go_on(tmp_path, replace(TO_KILL, hidden=7))


TWO_DEVICES = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf
from tests.linnaeus.training.fine_tuning.test_tuning import QUICK, shapes, tune
from tests.linnaeus.training import tuning
from linnaeus.training.fine_tuning import tuning as fine_tuning
from linnaeus.training.fine_tuning.devices import Devices

cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
both = Devices(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
fine_tuning.Devices.found = classmethod(lambda cls, mixed_precision: both)
folder = Path(sys.argv[1])
of = shapes(folder, tuning.module(folder / "module"))
curve = tune(of, eval(sys.argv[2])).curve
np.save(folder / "curve.npy", [[p.train_loss, p.validation_loss] for p in curve])
"""


@pytest.mark.soak
def test_two_devices_learn_what_one_does(tmp_path: Path, small: Shapes):
    # The last batch has uneven parts. What is dropped differs by device, and so does the mean that
    # the module follows, a little; plain gradient steps show a loss that is not shared out.
    settings = replace(
        QUICK, optimizer="sgd", learning_rate=0.1, dropout=0.0, batch_size=7, epochs=3, hidden=8
    )
    text = repr(settings).replace("FineTuningConfig", "type(QUICK)")
    subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(tmp_path), text], cwd=Path.cwd(), check=True
    )
    curve = [[p.train_loss, p.validation_loss] for p in tune(small, settings).curve]
    np.testing.assert_allclose(np.load(tmp_path / "curve.npy"), curve, rtol=2e-2)


@pytest.mark.soak
def test_float16_trains_and_leaves_a_float32_backbone(
    lite: Shapes, last_layers: Any, monkeypatch: pytest.MonkeyPatch
):
    import tensorflow as tf

    from linnaeus.training.fine_tuning.devices import Devices

    halves = Devices(tf.distribute.get_strategy(), float16=True)
    monkeypatch.setattr(
        "linnaeus.training.fine_tuning.tuning.Devices.found", lambda mixed_precision: halves
    )
    tuned = tune(lite, LAST_LAYERS)
    found, exact = ([point.train_loss for point in fit.curve] for fit in (tuned, last_layers))
    assert found != exact
    # Half precision rounds otherwise on every processor, and the second loss is a small one.
    np.testing.assert_allclose(found[:2], exact[:2], rtol=0.1, atol=0.03)
    assert tuned.spec.precision == "float32"
    by_engine = [
        tuning.embeddings(lite.workspace, tuned.spec, lite.files[:4], engine)
        for engine in ("tensorflow", "openvino")
    ]
    np.testing.assert_allclose(*by_engine, rtol=1e-3, atol=1e-4)
