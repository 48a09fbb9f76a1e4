from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from linnaeus.engines import open_engine
from linnaeus.errors import ConfigurationError
from linnaeus.process import processors


def test_importing_engines_imports_no_engine():
    script = """
import sys
import linnaeus.engines.engine, linnaeus.engines.openvino, linnaeus.engines.litert
import linnaeus.engines.tensorflow, linnaeus.preparation.conversion, linnaeus.preparation.precision
heavy = {"openvino", "tensorflow", "ai_edge_litert", "nncf", "keras"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_auto_takes_openvino_on_a_cpu(convolution):
    assert open_engine(convolution.files, convolution.spec).name == "openvino"


@pytest.mark.slow
def test_auto_passes_over_what_is_not_prepared(mobile_network, tmp_path):
    shutil.copytree(mobile_network.files / "litert", tmp_path / "litert")
    assert open_engine(tmp_path, mobile_network.spec).name == "litert"


def test_without_any_engine_each_reason_is_told(convolution, tmp_path):
    spec = replace(convolution.spec, unavailable={"openvino": "it has a loop"})
    with pytest.raises(ConfigurationError) as caught:
        open_engine(tmp_path, spec)
    assert "not prepared for OpenVINO: it has a loop" in str(caught.value)
    assert "not prepared for LiteRT" in str(caught.value)
    assert "not prepared for TensorFlow" in str(caught.value)


def test_an_engine_that_is_not_prepared_is_named(convolution):
    with pytest.raises(ConfigurationError, match=r"small is not prepared for LiteRT: .* missing"):
        open_engine(convolution.files, convolution.spec, "litert")


def test_an_engine_that_is_not_installed_is_named_with_the_remedy(convolution, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"OpenVINO is not installed: pip install"):
        open_engine(convolution.files, convolution.spec, "openvino")


def test_an_unknown_engine_is_refused_with_the_known_ones(convolution):
    with pytest.raises(ConfigurationError, match="no engine 'onnx': use auto, openvino, litert"):
        open_engine(convolution.files, convolution.spec, "onnx")


@pytest.mark.parametrize("engine", ["litert", "tensorflow"])
def test_a_reduced_precision_is_left_to_openvino(convolution, engine):
    spec = replace(convolution.spec, precision="bfloat16")
    with pytest.raises(ConfigurationError, match="use the engine openvino"):
        open_engine(convolution.files, spec, engine)


def test_processors_are_those_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert processors() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= processors() <= len(allowed)


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1)]
)
def test_processors_respect_the_quota_of_a_container(monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(Path, "read_text", lambda path: quota + "\n")
    assert processors() == expected
