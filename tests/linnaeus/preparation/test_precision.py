from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from linnaeus.engines import agreement, open_engine
from linnaeus.engines.openvino import _precision_hint
from linnaeus.errors import ConfigurationError
from linnaeus.preparation.precision import reduce_precision
from linnaeus.process import import_openvino

ROWS = hnp.arrays(np.float32, (4, 5), elements=st.floats(-8, 8, width=32, allow_subnormal=False))


@given(reference=ROWS, candidate=ROWS)
def test_agreement_equals_cosines_taken_one_by_one(reference, candidate):
    def cosine(a, b):
        a, b = a.astype(np.float64), b.astype(np.float64)
        if np.array_equal(a, b):
            return 1.0
        lengths = np.sqrt(np.sum(a * a)) * np.sqrt(np.sum(b * b))
        return float(np.sum(a * b) / lengths) if lengths else 0.0

    cosines = [cosine(a, b) for a, b in zip(reference, candidate, strict=True)]
    found = agreement(reference, candidate)
    assert found.cosine_min == pytest.approx(min(cosines), abs=1e-9)
    assert found.cosine_mean == pytest.approx(sum(cosines) / 4, abs=1e-9)
    assert found.max_abs == np.abs(reference - candidate).max()
    assert found.images == 4


def test_bfloat16_is_refused_on_a_cpu_without_it(convolution):
    core = SimpleNamespace(get_property=lambda device, name: ["FP32", "INT8"])
    spec = replace(convolution.spec, precision="bfloat16")
    with pytest.raises(ConfigurationError, match="no instructions for: use --precision float32"):
        _precision_hint(core, spec)


def test_bfloat16_vectors_are_close_but_not_those_of_float32(convolution):
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in capabilities:
        pytest.skip("this CPU has no bfloat16")
    spec = replace(convolution.spec, precision="bfloat16")
    found = reduce_precision(convolution.files, spec, convolution.pixels)
    assert found.cosine_min > 0.999
    assert found.max_abs > 1e-5


def test_int8_without_nncf_says_what_to_install(convolution, tmp_path, monkeypatch):
    shutil.copytree(convolution.files, tmp_path / "files")
    monkeypatch.setitem(sys.modules, "nncf", None)
    spec = replace(convolution.spec, precision="int8")
    with pytest.raises(ConfigurationError, match=r"pip install 'linnaeus\[int8\]'"):
        reduce_precision(tmp_path / "files", spec, convolution.pixels)


@pytest.mark.slow
def test_int8_quantises_the_network_in_its_place(convolution, tmp_path, capsys):
    pytest.importorskip("nncf")
    files = tmp_path / "files"
    shutil.copytree(convolution.files, files)
    spec = replace(convolution.spec, precision="int8")
    found = reduce_precision(files, spec, convolution.pixels)
    assert 0.99 < found.cosine_min < 1.0
    assert "FakeQuantize" in (files / "openvino" / "model.xml").read_text()
    assert sorted(path.name for path in (files / "openvino").iterdir()) == [
        "model.bin",
        "model.xml",
    ]
    assert capsys.readouterr().out == ""
    again = open_engine(files, spec).embed(convolution.pixels)
    assert agreement(convolution.expected, again).cosine_min > 0.99
