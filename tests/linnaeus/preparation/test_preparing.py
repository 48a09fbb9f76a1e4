import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnaeus.backbones import Saved, load_spec, local_files
from linnaeus.engines import open_engine
from linnaeus.errors import ConfigurationError
from linnaeus.preparation import prepare, preparing
from linnaeus.preparation.preparing import PRECISIONS, fingerprint, network
from linnaeus.storage import Folder

SAVED = Saved("ab" * 32, "efficientnet-lite-1", "", 224, 224, 1280, "Apache-2.0")


def test_the_fingerprint_is_the_same_everywhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preparing, "PREPROCESSING", "1")
    assert fingerprint(SAVED, "float32", "") == "fbb3ea34beaf03d4a857"


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "cd" * 32},
        {"graph": "efficientnet-lite-2"},
        {"taps": "mid"},
        {"height": 240},
        {"width": 240},
    ],
)
def test_whatever_decides_a_vector_changes_the_fingerprint(change: dict[str, Any]):
    changed = dataclasses.replace(SAVED, **change)
    assert fingerprint(changed, "float32", "") != fingerprint(SAVED, "float32", "")


def test_height_and_width_are_not_exchanged():
    tall = dataclasses.replace(SAVED, height=300)
    wide = dataclasses.replace(SAVED, width=300)
    assert fingerprint(tall, "float32", "") != fingerprint(wide, "float32", "")


def test_precision_calibration_and_preprocessing_change_the_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
):
    kinds = [("float32", ""), ("bfloat16", ""), ("int8", "a"), ("int8", "b")]
    prints = {fingerprint(SAVED, *kind) for kind in kinds}
    monkeypatch.setattr(preparing, "PREPROCESSING", "another")
    prints.add(fingerprint(SAVED, "float32", ""))
    assert len(prints) == 5


def test_a_licence_does_not_change_the_fingerprint():
    other = dataclasses.replace(SAVED, licence="MIT")
    assert fingerprint(other, "float32", "") == fingerprint(SAVED, "float32", "")


def test_an_unknown_precision_is_refused_with_the_nearest(workspace: Folder):
    with pytest.raises(ConfigurationError, match="did you mean bfloat16"):
        prepare(workspace, "pixels", "bf16")


def test_int8_needs_pictures(workspace: Folder):
    with pytest.raises(ConfigurationError, match="name IMAGES"):
        prepare(workspace, "pixels", "int8")


HANDLE = "https://tfhub.dev/google/imagenet/{}/feature_vector/5"


def test_no_two_names_share_an_entry_of_the_index(tmp_path: Path):
    weights = tmp_path / "w.h5"
    weights.write_bytes(b"one")
    asked = [
        *("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite0+mid", "pixels"),
        *("efficientnet-lite0@300", "pixels@300", "resnet50", "resnet50_v2"),
        *(HANDLE.format("mobilenet_v2"), HANDLE.format("inception_v3"), f"vgg16?weights={weights}"),
        *("vgg16", f"vgg19?weights={weights}"),
    ]
    keys = {index_key(name, precision) for name in asked for precision in PRECISIONS}
    assert len(keys) == len(asked) * len(PRECISIONS)
    before = index_key(f"vgg16?weights={weights}", "float32")
    weights.write_bytes(b"other")
    assert index_key(f"vgg16?weights={weights}", "float32") != before


def index_key(name: str, precision: str) -> str:
    return preparing._index_key(network(Folder("unused"), name), precision)


def test_another_preprocessing_is_another_entry_of_the_index(monkeypatch: pytest.MonkeyPatch):
    before = index_key("pixels", "float32")
    monkeypatch.setattr(preparing, "PREPROCESSING", "another")
    assert index_key("pixels", "float32") != before


def test_without_tensorflow_a_new_backbone_names_the_remedy(
    workspace: Folder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'linnaeus\[train\]'"):
        prepare(workspace, "pixels@4")


@pytest.mark.slow
def test_a_prepared_backbone_runs_on_every_engine(workspace: Folder):
    spec = prepare(workspace, "efficientnet-lite0@64+mid")
    assert spec.name == "efficientnet-lite0@64+mid"
    assert set(spec.engines) == {"openvino", "litert", "tensorflow"}
    assert not spec.unavailable
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    files = local_files(workspace, spec.fingerprint)
    for stored in (file for engine in spec.engines.values() for file in engine):
        assert (files / stored.path).stat().st_size == stored.size_bytes
    vectors = [open_engine(files, spec, engine).embed(pixels) for engine in spec.engines]
    for vector in vectors:
        assert vector.shape == (2, spec.embedding_size)
        np.testing.assert_allclose(vector, vectors[0], rtol=1e-3, atol=1e-3)


CHECK = """
import sys
from linnaeus.backbones import local_files; from linnaeus.preparation import prepare
from linnaeus.storage import Folder
workspace = Folder(sys.argv[1])
local_files(workspace, prepare(workspace, "pixels@4").fingerprint)
heavy = {"tensorflow", "keras", "openvino", "ai_edge_litert", "tensorflow_hub"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""


@pytest.mark.slow
def test_what_the_workspace_has_is_returned_without_tensorflow(workspace: Folder):
    prepare(workspace, "pixels@4")
    command = [sys.executable, "-c", CHECK, workspace.uri]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_that_prepare_at_once_get_one_backbone(workspace: Folder):
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: prepare(workspace, "pixels@4"), range(2))
    assert one == other == load_spec(workspace, one.fingerprint)
    left = {entry.key.split("/")[2] for entry in workspace.list(f"backbones/{one.fingerprint}")}
    assert left == {"spec.json", one.folder}


@pytest.mark.slow
def test_two_workspaces_agree_on_the_fingerprint(tmp_path: Path):
    one, other = (prepare(Folder(str(tmp_path / name)), "pixels@4") for name in ("a", "b"))
    assert one.fingerprint == other.fingerprint
    assert one.folder != other.folder


@pytest.mark.slow
def test_float32_asks_for_no_pictures(workspace: Folder):
    def sample(height: int, width: int) -> Any:
        raise AssertionError(f"asked for {height}x{width}")

    assert prepare(workspace, "pixels@4", "float32", sample).agreement == {}


@pytest.mark.slow
def test_a_deleted_backbone_is_prepared_again(workspace: Folder):
    spec = prepare(workspace, "pixels@4")
    for entry in list(workspace.list(f"backbones/{spec.fingerprint}")):
        workspace.delete(entry.key)
    again = prepare(workspace, "pixels@4")
    assert again.fingerprint == spec.fingerprint
    assert (local_files(workspace, again.fingerprint) / "openvino" / "model.xml").exists()


def module(to: Path, factor: float, *, exotic: bool = False) -> str:
    """A SavedModel that scales a picture's mean colour."""
    import tensorflow as tf

    made: Any = tf.Module()
    made.factor = tf.Variable(factor)

    def call(images: Any) -> Any:
        colour = made.factor * tf.reduce_mean(images, [1, 2])
        return tf.math.betainc(colour + 1, colour + 2, tf.sigmoid(colour)) if exotic else colour

    spec = tf.TensorSpec([None, 8, 8, 3], tf.float32)
    made.__call__ = tf.function(call, input_signature=[spec])
    tf.saved_model.save(made, str(to))
    return str(to)


@pytest.mark.slow
def test_a_changed_folder_of_the_same_name_is_another_backbone(workspace: Folder, tmp_path: Path):
    first = prepare(workspace, module(tmp_path / "module", 1.0))
    assert prepare(workspace, str(tmp_path / "module")) == first
    second = prepare(workspace, module(tmp_path / "module", 2.0))
    assert second.fingerprint != first.fingerprint


@pytest.mark.slow
def test_the_same_content_under_another_name_is_the_same_backbone(
    workspace: Folder, tmp_path: Path
):
    first = prepare(workspace, module(tmp_path / "module", 1.0))
    (tmp_path / "module").rename(tmp_path / "renamed")
    assert prepare(workspace, str(tmp_path / "renamed")) == first


@pytest.mark.slow
def test_an_engine_that_cannot_run_a_network_is_recorded(workspace: Folder, tmp_path: Path):
    spec = prepare(workspace, module(tmp_path / "module", 1.0, exotic=True))
    assert "openvino" in spec.unavailable
    assert "openvino" not in spec.engines
    files = local_files(workspace, spec.fingerprint)
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    assert open_engine(files, spec, "auto").embed(pixels).shape == (1, 3)


def pictures(height: int, width: int) -> Any:
    """Smooth ones of many colours: noise all looks alike to a network."""
    random = np.random.default_rng(2)
    corners = random.integers(0, 256, (16, 4, 4, 3)).astype(np.uint8)
    return corners.repeat(height // 4, axis=1).repeat(width // 4, axis=2)


def other_pictures(height: int, width: int) -> Any:
    return 255 - pictures(height, width)


def computes_bfloat16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.slow
def test_bfloat16_is_compared_with_float32_or_refused(workspace: Folder):
    if computes_bfloat16():
        spec = prepare(workspace, "efficientnet-lite0@64", "bfloat16", pictures)
        assert spec.agreement["images"] == 16
        assert 0.9 < spec.agreement["cosine_min"] < 1
    else:
        with pytest.raises(ConfigurationError, match="no bfloat16 instructions"):
            prepare(workspace, "efficientnet-lite0@64", "bfloat16", pictures)


@pytest.mark.slow
def test_int8_is_calibrated_on_the_pictures_once(workspace: Folder):
    spec = prepare(workspace, "efficientnet-lite0@64", "int8", pictures)
    assert spec.precision == "int8"
    assert spec.agreement["images"] == 16
    assert 0.5 < spec.agreement["cosine_min"] <= spec.agreement["cosine_mean"] < 0.99999
    assert prepare(workspace, "efficientnet-lite0@64", "int8", other_pictures) == spec
    files = local_files(workspace, spec.fingerprint)
    assert open_engine(files, spec).embed(pictures(64, 64)).shape == (16, 1280)
