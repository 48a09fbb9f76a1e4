"""What is learned from and what is evaluated when the backbone itself is trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from linnaeus import manifests, preparation
from linnaeus.errors import ConfigurationError
from linnaeus.manifests import Manifest
from linnaeus.models import ModelBackbone
from linnaeus.progress import SILENT
from linnaeus.storage import Folder
from linnaeus.training.config import FineTuningConfig, SplitConfig, TrainConfig
from linnaeus.training.data import dataset
from linnaeus.training.data.dataset import Selection
from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.fitting import Training, learn
from linnaeus.training.monitoring import Monitoring
from tests.linnaeus.training import tuning

pytestmark = pytest.mark.slow

TUNING = FineTuningConfig(batch_size=8, optimizer="adam", learning_rate=0.05, epochs=3)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(str(tmp_path_factory.mktemp("learning") / "workspace"))


@pytest.fixture(scope="module")
def config(workspace: Folder) -> TrainConfig:
    """With a module of one convolution."""
    module = tuning.module(Path(workspace.uri).parent / "module")
    return TrainConfig(backbone=module, fine_tuning=TUNING, split=SplitConfig(30.0, 30.0))


@pytest.fixture(scope="module")
def manifest(workspace: Folder) -> Manifest:
    """Shapes, of which two thirds are boxes."""
    folder = Path(workspace.uri).parent
    files = tuning.draw(folder / "shapes")
    rows = [f"{file},{tuning.LABELS[n % 2]}" for n, file in enumerate(files) if n % 4 != 1]
    (folder / "list.csv").write_text("\n".join(["uri,label", *rows]), "utf-8")
    return manifests.freeze(workspace, str(folder / "list.csv"))


def training(workspace: Folder, manifest: Manifest, config: TrainConfig, to: Path) -> Training:
    return Training(workspace, manifest, config, to, SILENT, Monitoring())


def splits_of(data: LabelledEmbeddings) -> dict[str, set[str]]:
    return {name: set(data.uris[rows].to_pylist()) for name, rows in data.slices.items()}


def test_a_fine_tuned_backbone_is_judged_by_the_splits_that_it_was_trained_with(
    workspace: Folder, manifest: Manifest, config: TrainConfig, tmp_path: Path
) -> None:
    """To it, other pictures are near duplicates: split by these, trained ones would be tested."""
    together = replace(config, split=replace(config.split, near_duplicates="together"))
    learned = learn(training(workspace, manifest, together, tmp_path))
    base = ModelBackbone.of(preparation.prepare(workspace, config.backbone))
    trained = dataset.load(workspace, manifest, base, Selection(together.split))
    assert splits_of(learned.data) == splits_of(trained)
    assert learned.spec.fingerprint != base.fingerprint


def test_fine_tuning_weighs_labels_as_it_is_told(
    workspace: Folder, manifest: Manifest, config: TrainConfig, tmp_path: Path
) -> None:
    plain, balanced = (
        learn(training(workspace, manifest, replace(config, class_weights=how), tmp_path))
        for how in ("none", "balanced")
    )
    ends = [
        one.fit.validated.logits(np.eye(tuning.CHANNELS, dtype=np.float32))
        for one in (plain, balanced)
    ]
    assert not np.array_equal(*ends)


def test_embeddings_that_are_no_numbers_are_not_fine_tuned_from(
    workspace: Folder, manifest: Manifest, config: TrainConfig, tmp_path: Path
) -> None:
    broken = replace(config, backbone=tuning.module(tmp_path / "module", bias=np.inf))
    with pytest.raises(ConfigurationError, match="not a finite number"):
        learn(training(workspace, manifest, broken, tmp_path))
