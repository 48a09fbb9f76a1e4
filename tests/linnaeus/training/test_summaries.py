import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from linnaeus.training.config import LayersConfig
from linnaeus.training.heads.head import Dense, Head
from linnaeus.training.monitoring import Monitoring

pytestmark = pytest.mark.slow

RETRAIN = {
    "cross_entropy_1",
    "accuracy_1",
    "activations",
    "final_retrain_ops/Wx_plus_b/pre_activations",
    *(
        f"final_retrain_ops/{variable}/summaries/{what}"
        for variable in ("weights", "biases")
        for what in ("mean", "stddev", "max", "min", "histogram")
    ),
}


def events(folder: Path) -> Iterator[Any]:
    import tensorflow as tf

    for file in sorted(folder.glob("events.out.tfevents.*")):
        yield from tf.compat.v1.train.summary_iterator(str(file))


def summaries(folder: Path) -> dict[int, dict[str, Any]]:
    """The values of each step, by tag."""
    return {
        event.step: {value.tag: value for value in event.summary.value}
        for event in events(folder)
        if event.HasField("summary")
    }


def training(**settings: Any) -> Any:
    """Of 200 images, 40 a step."""
    from linnaeus.training.heads.layers import fit
    from tests.linnaeus.training.heads.rows import rings

    return fit(rings(), LayersConfig(batch_size=40, **settings["config"]), 0, **settings["more"])


def test_a_training_writes_what_retrain_wrote_each_step_and_at_each_evaluation(
    tmp_path: Path,
) -> None:
    monitoring = Monitoring(str(tmp_path), every_steps=4)
    found = training(config={"steps": 10, "learning_rate": 0.1}, more={"monitoring": monitoring})
    train, validation = summaries(tmp_path / "train"), summaries(tmp_path / "validation")
    assert list(train) == list(range(1, 11))
    assert list(validation) == [4, 8, 10]
    assert all(values.keys() == RETRAIN for values in [*train.values(), *validation.values()])
    point = found.curve[1]
    assert validation[8]["cross_entropy_1"].simple_value == pytest.approx(point.validation_loss)
    assert validation[8]["accuracy_1"].simple_value == pytest.approx(point.validation_accuracy)
    stretch = [train[step]["cross_entropy_1"].simple_value for step in range(5, 9)]
    assert np.mean(stretch) == pytest.approx(point.train_loss, rel=1e-5)


def test_an_epoch_is_looked_at_within_too(tmp_path: Path) -> None:
    monitoring = Monitoring(str(tmp_path), every_steps=2)
    found = training(config={"epochs": 2}, more={"monitoring": monitoring})
    assert list(summaries(tmp_path / "validation")) == [2, 4, 5, 6, 8, 10]
    assert [point.step for point in found.curve] == [1, 2]


def test_no_folder_no_summaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    training(config={"epochs": 1}, more={})
    assert not list(tmp_path.iterdir())


def test_weights_and_activations_of_every_layer_are_summarised(tmp_path: Path) -> None:
    from scipy.special import expit

    from linnaeus.training.summaries import Summaries

    rng = np.random.default_rng(0)
    hidden = Dense(rng.normal(size=(3, 4)), rng.normal(size=4), "tanh")
    last = Dense(rng.normal(size=(4, 2)), rng.normal(size=2))
    inputs = rng.normal(size=(5, 3)).astype(np.float32)
    Summaries(tmp_path, "multi").write(7, (0.5, 0.25), Head((hidden, last)), inputs)
    values = summaries(tmp_path)[7]
    assert values["cross_entropy_1"].simple_value == 0.5
    assert values["accuracy_1"].simple_value == 0.25
    first = inputs @ hidden.kernel + hidden.bias
    logits = np.tanh(first) @ last.kernel + last.bias
    expected = {
        "hidden_1/weights/summaries/histogram": hidden.kernel,
        "hidden_1/biases/summaries/histogram": hidden.bias,
        "hidden_1/Wx_plus_b/pre_activations": first,
        "hidden_1/activations": np.tanh(first),
        "final_retrain_ops/weights/summaries/histogram": last.kernel,
        "final_retrain_ops/biases/summaries/histogram": last.bias,
        "final_retrain_ops/Wx_plus_b/pre_activations": logits,
        "activations": expit(logits),
    }
    assert expected.keys() == {tag for tag, value in values.items() if value.HasField("histo")}
    for tag, array in expected.items():
        histogram = values[tag].histo
        assert (histogram.min, histogram.max) == pytest.approx((array.min(), array.max()))
        assert histogram.sum == pytest.approx(array.sum())
        assert histogram.sum_squares == pytest.approx((array**2).sum())
        assert histogram.num == sum(histogram.bucket) == array.size
        below = sum(np.array(histogram.bucket)[:15])
        assert below == (array < histogram.bucket_limit[14]).sum()
    kernel = {
        what: values[f"hidden_1/weights/summaries/{what}"].simple_value
        for what in ("mean", "stddev", "max", "min")
    }
    assert kernel == pytest.approx(
        {
            "mean": hidden.kernel.mean(),
            "stddev": hidden.kernel.std(),
            "max": hidden.kernel.max(),
            "min": hidden.kernel.min(),
        }
    )


def test_values_that_are_not_finite_leave_a_histogram_of_the_others(tmp_path: Path) -> None:
    from linnaeus.training.summaries import Summaries

    head = Head((Dense(np.full((2, 2), np.nan), np.array([np.inf, 1.0])),))
    Summaries(tmp_path, "single").write(1, (np.nan, 0.0), head, np.ones((3, 2), np.float32))
    values = summaries(tmp_path)[1]
    assert values["final_retrain_ops/weights/summaries/histogram"].histo.num == 0
    assert values["final_retrain_ops/biases/summaries/histogram"].histo.num == 1


def test_a_resumed_training_takes_the_place_of_what_was_written_after_its_checkpoint(
    tmp_path: Path,
) -> None:
    from tensorflow.core.util.event_pb2 import SessionLog

    from linnaeus.training.summaries import Summaries

    Summaries(tmp_path, "single")
    Summaries(tmp_path, "single", step=40)
    starts = [event for event in events(tmp_path) if event.HasField("session_log")]
    assert [event.step for event in starts] == [1, 41]
    assert {event.session_log.status for event in starts} == {SessionLog.START}
    versions = [event.file_version for event in events(tmp_path) if event.file_version]
    assert versions == ["brain.Event:2"] * 2


def test_events_are_on_disk_at_once(tmp_path: Path) -> None:
    from linnaeus.training.summaries import Summaries

    writer = Summaries(tmp_path, "single")
    (file,) = tmp_path.iterdir()
    before = file.stat().st_size
    head = Head((Dense(np.eye(2), np.zeros(2)),))
    writer.write(1, (0.0, 1.0), head, np.eye(2, dtype=np.float32))
    assert file.stat().st_size > before


def test_the_confusion_matrix_is_a_picture_of_the_run_test(tmp_path: Path) -> None:
    from linnaeus.training.summaries import confusion_image, draw_confusion

    confusion = np.array([[9, 1], [0, 4]])
    confusion_image(tmp_path, confusion, ("rød", "blue"))
    (values,) = summaries(tmp_path / "test").values()
    image = values["confusion_matrix"].image
    picture = Image.open(io.BytesIO(image.encoded_image_string))
    assert picture.size == (image.width, image.height)
    assert picture.tobytes() == draw_confusion(confusion, ("rød", "blue")).tobytes()


def test_a_cell_is_the_darker_the_larger_its_share_of_the_true_label() -> None:
    from linnaeus.training.summaries import CELL_PIXELS, draw_confusion

    confusion = np.array([[100, 0, 0], [1, 2, 1], [0, 0, 0]])
    picture = draw_confusion(confusion, ("a", "bb", "ccc")).convert("L")
    margin = picture.width - 3 * CELL_PIXELS
    assert picture.height == picture.width and margin > 20

    def shade(row: int, column: int) -> int:
        return picture.getpixel((margin + column * CELL_PIXELS + 3, row * CELL_PIXELS + 3))

    assert shade(0, 0) < shade(1, 1) < shade(1, 0) == shade(1, 2) < shade(0, 1) == 255
    assert shade(2, 2) == 255
    labels = np.array(picture)[: 3 * CELL_PIXELS, : margin - 1]
    ink = [(labels[i * CELL_PIXELS : (i + 1) * CELL_PIXELS] < 128).sum() for i in range(3)]
    assert 0 < ink[0] < ink[1] and ink[2] > 0


@pytest.mark.parametrize("classes", [1, 2, 40, 75, 76, 200, 1000])
def test_a_confusion_matrix_of_any_size_is_drawn(classes: int) -> None:
    from linnaeus.training.summaries import draw_confusion

    labels = tuple(f"label {i}" for i in range(classes))
    picture = draw_confusion(np.eye(classes, dtype=np.int64) * 1234, labels)
    assert classes <= picture.width == picture.height <= 1100
