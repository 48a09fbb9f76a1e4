from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError
from linnaeus.training.evaluation.decisions import DecisionRule, Task
from linnaeus.training.heads.head import Dense, Head, RadialBasis
from linnaeus.training.tflite.conversion import KINDS, Source, convert
from linnaeus.training.tflite.export import scores
from tests.linnaeus.training.conftest import HEIGHT, LABELS, SIZE, WIDTH, Exported, Prepared

pytestmark = pytest.mark.slow

Pixels = NDArray[np.uint8]


def patches(pictures: int, seed: int) -> Pixels:
    """Pictures of a few large patches of colour, as unlike each other as photographs are."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (pictures, 3, 4, 3), np.uint8)
    return colours.repeat(HEIGHT // 3, axis=1).repeat(WIDTH // 4, axis=2)


PICTURES = patches(60, seed=1)


def source_of(folder: Path) -> Source:
    return Source(folder, HEIGHT, WIDTH, LABELS, "shapes")


def publish(head: Head, backbone: Prepared, folder: Path, task: Task = "single") -> None:
    from linnaeus.training.exporting.export import TrainedModel, write_saved_model

    trained = TrainedModel(
        "shapes", DecisionRule(LABELS, task), head, backbone.spec, backbone.files
    )
    write_saved_model(trained, folder)


def published_scores(folder: Path) -> NDArray[np.float32]:
    from linnaeus.training.exporting.published import PublishedModel

    return PublishedModel(folder).call("pixels", pixels=PICTURES)["scores"]


def same_labels(found: NDArray, expected: NDArray) -> float:
    return float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())


def parsed(file: bytes) -> Any:
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(file))


def operations(file: bytes) -> list[str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    names = {code: name for name, code in vars(BuiltinOperator).items() if name.isupper()}
    model = parsed(file)
    codes = [names[code.builtinCode] for code in model.operatorCodes]
    return [codes[one.opcodeIndex] for one in model.subgraphs[0].operators]


@pytest.fixture(scope="module")
def files(exported: Exported) -> dict[str, bytes]:
    calibration = patches(100, seed=2)
    return {kind: convert(source_of(exported.folder), kind, calibration) for kind in KINDS}


@pytest.fixture(scope="module")
def expected(exported: Exported) -> NDArray[np.float32]:
    return published_scores(exported.folder)


def test_float32_gives_the_scores_of_the_saved_model(files: dict[str, bytes], expected: NDArray):
    np.testing.assert_allclose(scores(files["float32"], PICTURES), expected, atol=1e-4)
    assert len(set(expected.argmax(axis=1))) > 1


@pytest.mark.parametrize("kind", ["dynamic", "int8"])
def test_eight_bits_say_the_same_of_most_pictures(
    files: dict[str, bytes], expected: NDArray, kind: str
):
    found = scores(files[kind], PICTURES)
    assert same_labels(found, expected) > 0.9
    assert np.abs(found - expected).mean() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_takes_bytes_of_a_picture_and_gives_float_scores(files: dict[str, bytes], kind: str):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=files[kind])
    (pixels,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (pixels["dtype"], list(pixels["shape"])) == (np.uint8, [1, HEIGHT, WIDTH, 3])
    assert (output["dtype"], list(output["shape"])) == (np.float32, [1, len(LABELS)])
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["pixels"], "outputs": ["scores"]}
    }


@pytest.mark.parametrize("kind", KINDS)
def test_no_operation_needs_more_than_the_builtin_kernels(files: dict[str, bytes], kind: str):
    assert not {"CUSTOM"} & set(operations(files[kind]))


def test_int8_calculates_with_integers_from_the_pixels_to_the_scores(files: dict[str, bytes]):
    from ai_edge_litert.schema_py_generated import TensorType

    graph = parsed(files["int8"]).subgraphs[0]
    names = operations(files["int8"])
    assert (names[0], names[-1]) == ("QUANTIZE", "DEQUANTIZE")
    assert "CAST" not in names
    results = [graph.tensors[one.outputs[0]].type for one in graph.operators[:-1]]
    assert set(results) == {TensorType.INT8}


def test_eight_bits_make_smaller_files(exported: Exported, files: dict[str, bytes]):
    assert len(files["int8"]) < len(files["float32"])
    assert len(files["dynamic"]) < len(files["float32"])


@pytest.mark.parametrize("kind", KINDS)
def test_labels_lie_in_the_file_as_a_zip_archive(files: dict[str, bytes], kind: str):
    text = zipfile.ZipFile(io.BytesIO(files[kind])).read("labels.txt").decode()
    assert tuple(text.splitlines()) == LABELS


def test_weights_of_very_different_sizes_keep_their_part_in_eight_bits(
    small_backbone: Prepared, tmp_path: Path
):
    """As a head has them whose standardisation is folded in."""
    import tensorflow as tf

    backbone = tf.saved_model.load(str(small_backbone.files / "tensorflow"))
    embeddings = backbone.signatures["serving_default"](pixels=tf.constant(PICTURES))["embedding"]
    kernel = np.random.default_rng(3).normal(size=(SIZE, len(LABELS))).astype(np.float32)
    kernel[0] = 100  # the same for every label, but the largest weight of each
    head = Head((Dense(kernel, -embeddings.numpy().mean(axis=0) @ kernel),))
    publish(head, small_backbone, tmp_path)
    expected = published_scores(tmp_path)
    assert len(set(expected.argmax(axis=1))) > 2
    found = scores(convert(source_of(tmp_path), "int8", patches(100, seed=2)), PICTURES)
    assert same_labels(found, expected) > 0.8


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
    )
)
def test_coarse_and_fine_weights_are_the_weights(weights: NDArray[np.float32]):
    from linnaeus.training.tflite.precision import STEPS, split

    coarse, fine = split(weights)
    largest = np.abs(weights).max(axis=0)
    np.testing.assert_allclose(coarse + fine, weights, atol=1e-6 * largest.max(initial=0))
    assert (np.abs(fine) <= largest / STEPS * 0.51).all()
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.nan_to_num(coarse / (largest / STEPS))
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


def test_a_kernel_head_becomes_a_file(small_backbone: Prepared, tmp_path: Path):
    rng = np.random.default_rng(4)
    mean, scale = np.full(SIZE, 0.1, np.float32), np.full(SIZE, 0.3, np.float32)
    basis = RadialBasis(rng.normal(size=(12, SIZE)).astype(np.float32), mean, scale, 0.05)
    last = rng.normal(0, 3, (12, len(LABELS))).astype(np.float32)
    head = Head((basis, Dense(last, np.zeros(len(LABELS), np.float32))))
    publish(head, small_backbone, tmp_path)
    file = convert(source_of(tmp_path), "float32")
    np.testing.assert_allclose(scores(file, PICTURES), published_scores(tmp_path), atol=1e-4)


def test_scores_of_several_labels_are_independent(small_backbone: Prepared, tmp_path: Path):
    kernel = np.random.default_rng(5).normal(size=(SIZE, len(LABELS))).astype(np.float32)
    head = Head((Dense(kernel, np.zeros(len(LABELS), np.float32)),))
    publish(head, small_backbone, tmp_path, "multi")
    found = scores(convert(source_of(tmp_path), "float32"), PICTURES)
    np.testing.assert_allclose(found, published_scores(tmp_path), atol=1e-4)
    assert np.ptp(found.sum(axis=1)) > 0.1


def test_an_unknown_kind_is_refused(exported: Exported):
    with pytest.raises(ConfigurationError, match=r"'int4'.*float32, dynamic, int8"):
        convert(source_of(exported.folder), "int4")


@pytest.mark.parametrize("pictures", [None, PICTURES[:0]])
def test_int8_without_pictures_is_refused(exported: Exported, pictures: Pixels | None):
    with pytest.raises(ConfigurationError, match="calibrated on pictures"):
        convert(source_of(exported.folder), "int8", pictures)
