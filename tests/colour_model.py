"""A model without training, which says which colours are in a picture, and pictures for it."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from linnaeus import backbones, models, preparation
from linnaeus.models import Model, ModelBackbone
from linnaeus.storage import Folder
from linnaeus.training.evaluation.decisions import DecisionRule
from linnaeus.training.heads.head import Dense, Head

BACKBONE, SIZE = "pixels@8", 8
CHANNELS = ("red", "green", "blue")
LABELS = ("blue", "green", "red")
NAME = "colours"
_exported: dict[str, TemporaryDirectory[str]] = {}
"""By the rule, as an export takes seconds and depends on nothing else."""


def mixtures() -> Iterator[tuple[str, ...]]:
    """No colour, each alone, and together: eight in all."""
    for count in range(len(CHANNELS) + 1):
        yield from itertools.combinations(CHANNELS, count)


def paint(folder: Path) -> dict[str, tuple[str, ...]]:
    """A picture of each mixture; from its path to its colours."""
    folder.mkdir(parents=True)
    painted = {}
    for colours in mixtures():
        channels = [230 if name in colours else 20 for name in CHANNELS]
        path = folder / f"{'-'.join(colours) or 'black'}.png"
        Image.new("RGB", (20, 20), tuple(channels)).save(path)
        painted[str(path)] = colours
    return painted


def publish(workspace: Folder, rule: DecisionRule) -> Model:
    """Publishes a version whose logits are from -5 (a colour is not there) to 5 (it is)."""
    from linnaeus.training.exporting.export import TrainedModel, export
    from linnaeus.training.exporting.publication import publishing

    spec = preparation.prepare(workspace, BACKBONE)
    with publishing(workspace, NAME) as draft:
        if repr(rule) not in _exported:
            folder = _exported[repr(rule)] = TemporaryDirectory(prefix="colour-model-")
            files = backbones.local_files(workspace, spec.fingerprint)
            export(TrainedModel(NAME, rule, head(), spec, files), Path(folder.name))
        shutil.copytree(_exported[repr(rule)].name, draft.folder, dirs_exist_ok=True)
        model = Model(
            name=NAME,
            version=draft.version,
            labels=rule.labels,
            backbone=ModelBackbone.of(spec),
            task=rule.task,
            thresholds=rule.thresholds,
            data={"source": ""},
        )
        (draft.folder / models.DESCRIPTION).write_text(model.to_json(), "utf-8")
    return model


def head() -> Head:
    """From the pixels' values to a logit for each of `LABELS`."""
    of_channel = np.array([[label == channel for label in LABELS] for channel in CHANNELS])
    kernel = np.tile(of_channel * 12.0 / SIZE**2, (SIZE**2, 1))
    return Head((Dense(kernel.astype(np.float32), np.full(len(LABELS), -6, np.float32)),))
