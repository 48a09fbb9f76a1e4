"""The nightly runs of the benchmark once, far too few to mean anything."""

import pytest

from benchmarks import nights, report
from benchmarks.catalogue import MEASUREMENTS
from benchmarks.setting import Setting

pytestmark = [pytest.mark.slow, pytest.mark.soak]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    sizes = {"NIGHTS": 10, "OBJECTS": 400, "REPLACED": 20, "SHOWN": (1, 10), "AROUND": 1}
    for name, size in sizes.items():
        monkeypatch.setattr(nights, name, size)


@pytest.mark.parametrize("name", [name for name in MEASUREMENTS if name.startswith("nights-")])
def test_nights_are_measured_and_shown(name, tmp_path):
    found = MEASUREMENTS[name].prepare(Setting(str(tmp_path), images=1, stored=1))()
    assert found.keys() <= {row.key for row in report.ROWS}
    assert {f"{name}-1", f"{name}-10", f"{name}-10-cpu"} <= found.keys()
    assert list(tmp_path.iterdir()) == []


def test_compacted_tables_have_fewer_parts(tmp_path):
    setting = Setting(str(tmp_path), images=1, stored=1)
    tidied, untidied = (
        nights.nights(setting, "embed", how)()[f"nights-embed-{how}-parts"]
        for how in ("tidied", "untidied")
    )
    assert tidied < untidied
