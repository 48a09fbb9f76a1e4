from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from linnaeus import images
from linnaeus.errors import ConfigurationError, ImageError, StorageError
from linnaeus.training.label_image import LabelImageFlags, label_image
from tests.linnaeus.training.command_lines import run
from tests.linnaeus.training.conftest import HEIGHT, LABELS, WIDTH
from tests.pictures import jpeg, turned_jpeg

if TYPE_CHECKING:
    from tests.linnaeus.training.conftest import Exported

slow = pytest.mark.slow


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.jpg"
    path.write_bytes(turned_jpeg(6))
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"{label}\n" for label in LABELS), "utf-8")
    return path


@pytest.fixture(scope="module")
def graph(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from linnaeus.training.drop_in import outputs as drop_in_outputs

    path = tmp_path_factory.mktemp("graph") / "output_graph.pb"
    drop_in_outputs.write_graph(exported.folder, str(path), "final_result")
    return path


def expected(exported: Exported, picture: Path) -> dict[str, float]:
    from linnaeus.training.exporting.published import PublishedModel

    pixels = images.decode(picture.read_bytes(), HEIGHT, WIDTH).pixels
    scores = PublishedModel(exported.folder).call("pixels", pixels=pixels[None])["scores"][0]
    return dict(zip(LABELS, map(float, scores), strict=True))


@slow
def test_the_old_command_line_prints_the_five_best_labels_of_a_frozen_graph(
    exported: Exported, graph: Path, labels: Path, picture: Path
) -> None:
    """Must 10: a one-picture command."""
    done = run(
        "label_image",
        f"--graph={graph}",
        f"--labels={labels}",
        "--input_layer=Placeholder",
        "--output_layer=final_result",
        f"--image={picture}",
    )
    assert (done.returncode, done.stderr) == (0, "")
    best = sorted(expected(exported, picture).items(), key=lambda pair: -pair[1])[:5]
    assert done.stdout.splitlines() == [f"{label} (score={score:.5f})" for label, score in best]


@slow
def test_layers_and_size_are_found_where_they_are_usual(
    exported: Exported, graph: Path, labels: Path, picture: Path
) -> None:
    flags = LabelImageFlags(image=str(picture), graph=str(graph), labels=str(labels))
    scores = expected(exported, picture)
    for label, score in label_image(flags):
        assert score == pytest.approx(scores[label], abs=1e-6)


@slow
def test_a_models_folder_is_sent_the_bytes_and_knows_its_labels(
    exported: Exported, picture: Path
) -> None:
    found = label_image(LabelImageFlags(image=str(picture), graph=str(exported.folder)))
    scores = expected(exported, picture)
    assert [label for label, _ in found] == sorted(scores, key=lambda label: -scores[label])[:5]
    assert found[0][1] == pytest.approx(scores[found[0][0]], abs=0.05)


@slow
def test_a_saved_model_of_numbers_is_fed_with_numbers(
    exported: Exported, labels: Path, picture: Path, tmp_path: Path
) -> None:
    from linnaeus.training.drop_in import outputs as drop_in_outputs

    drop_in_outputs.write_saved_model(exported.folder, str(tmp_path / "saved"))
    flags = LabelImageFlags(str(picture), str(tmp_path / "saved"), str(labels))
    scores = expected(exported, picture)
    assert dict(label_image(flags)) == pytest.approx(
        {label: scores[label] for label in sorted(scores, key=lambda one: -scores[one])[:5]},
        abs=1e-6,
    )


@slow
def test_a_graph_of_another_program_is_fed_as_the_flags_say(
    labels: Path, picture: Path, tmp_path: Path
) -> None:
    """Its input is normalised by mean and deviation, at the size that is asked for."""
    import tensorflow as tf

    with tf.Graph().as_default() as old:
        image = tf.compat.v1.placeholder(tf.float32, [None, None, None, 3], name="input")
        means = tf.reduce_mean(image, [1, 2])
        tf.concat([means, means + 1], 1, name="InceptionV3/Predictions/Reshape_1")
    (tmp_path / "old.pb").write_bytes(old.as_graph_def().SerializeToString())
    flags = LabelImageFlags(
        str(picture), str(tmp_path / "old.pb"), str(labels), 20, 30, input_mean=128, input_std=64
    )
    means = (images.decode(picture.read_bytes(), 20, 30).pixels.mean((0, 1)) - 128) / 64
    found = dict(label_image(flags))
    for label, value in zip(LABELS, np.concatenate([means, means + 1]), strict=True):
        assert found.get(label, value) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("missing", ["graph", "image"])
def test_a_flag_that_is_missing_is_named(missing: str, tmp_path: Path) -> None:
    given = {"graph": str(tmp_path), "image": str(tmp_path / "x.jpg")}
    del given[missing]
    with pytest.raises(ConfigurationError, match=f"--{missing}"):
        label_image(LabelImageFlags(**given))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.pb"):
        label_image(LabelImageFlags("x.jpg", str(tmp_path / "absent.pb")))
    with pytest.raises(StorageError, match=r"absent\.jpg"):
        label_image(LabelImageFlags(str(tmp_path / "absent.jpg"), str(tmp_path)))


@slow
def test_labels_of_another_graph_are_refused(graph: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("a\nb\n")
    with pytest.raises(ConfigurationError, match="6 scores, but --labels has 2 lines"):
        label_image(LabelImageFlags(str(picture), str(graph), str(tmp_path / "two.txt")))
    with pytest.raises(ConfigurationError, match="--labels"):
        label_image(LabelImageFlags(str(picture), str(graph)))


@slow
def test_a_file_that_is_no_picture_or_no_model_is_named(
    graph: Path, labels: Path, tmp_path: Path
) -> None:
    (tmp_path / "note.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"note\.jpg"):
        label_image(LabelImageFlags(str(tmp_path / "note.jpg"), str(graph), str(labels)))
    (tmp_path / "good.jpg").write_bytes(jpeg())
    with pytest.raises(ConfigurationError, match="no SavedModel"):
        label_image(LabelImageFlags(str(tmp_path / "good.jpg"), str(tmp_path)))


@slow
def test_labels_that_are_no_utf_8_are_refused_and_a_byte_order_mark_is_none_of_them(
    graph: Path, labels: Path, picture: Path
) -> None:
    flags = LabelImageFlags(image=str(picture), graph=str(graph), labels=str(labels))
    text = labels.read_bytes()
    labels.write_bytes(b"\xef\xbb\xbf" + text)
    assert {label for label, _ in label_image(flags)} < set(LABELS)
    labels.write_bytes(text + b"\xff")
    with pytest.raises(ConfigurationError, match=r"labels\.txt is not UTF-8"):
        label_image(flags)
