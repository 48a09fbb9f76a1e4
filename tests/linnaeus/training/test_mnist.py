"""Small pictures from IDX files to a tested network, as the MNIST exercise has it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from linnaeus import manifests, preparation
from linnaeus.datasets import idx, mnist
from linnaeus.errors import LinnaeusError
from linnaeus.storage import Folder
from linnaeus.training.config import LayersConfig, TrainConfig
from linnaeus.training.data.embedding import embed_missing
from linnaeus.training.train import train
from tests.linnaeus.datasets.idx_files import write_idx

pytestmark = pytest.mark.slow

Arrays = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]
IMAGES = {"train": 10_000, "test": 1000}
"""Enough for 94.8 %; all of MNIST gives 98 and takes minutes."""


def digits() -> list[Arrays]:
    """scikit-learn's digits, of which every fourth tests."""
    from sklearn.datasets import load_digits

    every = load_digits()
    images, labels = np.rint(every.images * 255 / 16).astype(np.uint8), every.target.astype("u1")
    test = np.arange(len(labels)) % 4 == 0
    return [("train", images[~test], labels[~test]), ("test", images[test], labels[test])]


def handwritten() -> list[Arrays]:
    """The beginning of MNIST; the digits, with a warning, where npm cannot fetch it."""
    try:
        return [
            (split, images[: IMAGES[split]], labels[: IMAGES[split]])
            for split, images, labels in mnist.arrays()
        ]
    except LinnaeusError as error:
        warnings.warn(f"scikit-learn's digits stand in for MNIST: {error}", stacklevel=2)
        return digits()


def unpack(arrays: list[Arrays], folder: Path) -> None:
    for split, images, labels in arrays:
        files = folder / f"{split}-images-idx3-ubyte", folder / f"{split}-labels-idx1-ubyte"
        files[0].write_bytes(write_idx(images))
        files[1].write_bytes(write_idx(labels))
        names = [str(file) for file in files]
        assert idx.main([*names, "--to", str(folder / "pictures"), "--split", split]) == 0


@pytest.mark.soak
def test_two_hidden_layers_of_fifty_learn_handwritten_digits(tmp_path: Path, workspace: Folder):
    arrays = handwritten()
    unpack(arrays, tmp_path)
    manifest = manifests.freeze(workspace, str(tmp_path / "pictures"))
    size = arrays[0][1].shape[1]
    config = TrainConfig(
        backbone=f"pixels@{size}",
        head="layers",
        layers=LayersConfig(hidden=(50, 50), dropout=0, l2=1e-3, decay="cosine", epochs=20),
    )
    embed_missing(workspace, manifest, preparation.prepare(workspace, config.backbone))
    model = train(workspace, manifest, "digits", config)
    test = model.metrics["test"]
    assert test["images"] == len(arrays[1][2])
    assert test["accuracy"] >= 0.93, test["accuracy"]
