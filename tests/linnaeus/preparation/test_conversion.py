from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from linnaeus.engines import open_engine
from linnaeus.preparation import conversion
from linnaeus.preparation.conversion import convert, relative_distance

pytestmark = pytest.mark.slow


@pytest.fixture
def saved_model(mobile_network, tmp_path):
    """The SavedModel alone, in a backbone's folder of its own."""
    (tmp_path / "tensorflow").symlink_to(mobile_network.files / "tensorflow")
    return tmp_path / "tensorflow"


def test_weights_stay_float32(mobile_network):
    weights = (mobile_network.files / "openvino" / "model.bin").stat().st_size
    kernels = 3 * 3 * 3 * 8 + 9 * 8 + 8 * 12 + 9 * 12 + 12 * 24
    assert weights >= 4 * kernels
    assert '"f16"' not in (mobile_network.files / "openvino" / "model.xml").read_text()


def test_a_network_that_computes_otherwise_leaves_no_files(
    mobile_network, saved_model, monkeypatch
):
    monkeypatch.setattr(conversion, "TOLERANCE", -1.0)
    problems = convert(saved_model.parent, mobile_network.spec)
    assert sorted(problems) == ["litert", "openvino"]
    assert "differ from another engine's by" in problems["litert"]
    assert [path.name for path in saved_model.parent.iterdir()] == ["tensorflow"]


def test_a_network_that_an_engine_cannot_convert_says_so_in_one_line(tmp_path):
    import tensorflow as tf

    def embed(pixels):
        printed = tf.strings.to_number(tf.strings.as_string(tf.cast(pixels, tf.float32)))
        return {"embedding": tf.reduce_mean(printed, [1, 2])}

    module = tf.Module()
    taken = tf.TensorSpec([None, 20, 28, 3], tf.uint8, name="pixels")
    module.embed = tf.function(embed, input_signature=[taken])
    signatures = {"serving_default": module.embed}
    tf.saved_model.save(module, str(tmp_path / "tensorflow"), signatures=signatures)
    problems = convert(tmp_path, _three_values())
    assert problems["litert"].startswith("the network cannot be converted (")
    assert "\n" not in "".join(problems.values())
    assert not (tmp_path / "litert").exists()
    assert open_engine(tmp_path, _three_values(), "tensorflow").embed(
        np.full((2, 20, 28, 3), 7, np.uint8)
    ) == pytest.approx(np.full((2, 3), 7.0))


def _three_values():
    from linnaeus.backbones import BackboneSpec

    return BackboneSpec("printed", "f" * 20, 20, 28, 3, "float32", "", "")


def test_relative_distance_is_of_the_worst_row():
    expected = np.array([[3.0, 4.0], [0.0, 10.0]], np.float32)
    found = np.array([[3.0, 4.0], [1.0, 10.0]], np.float32)
    assert relative_distance(expected, found) == pytest.approx(0.1)


def test_converting_leaves_the_home_folder_and_the_network_alone(saved_model, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    script = f"""
import sys
from pathlib import Path
def forbid(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        print("NETWORK", event, arguments)
sys.addaudithook(forbid)
from linnaeus.preparation.conversion import _to_openvino
(Path({str(tmp_path)!r}) / "openvino").mkdir()
_to_openvino(Path({str(saved_model)!r}), Path({str(tmp_path)!r}) / "openvino")
"""
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "NETWORK" not in ended.stdout
    assert list(home.iterdir()) == []
    assert (tmp_path / "openvino" / "model.xml").exists()
