"""Labelled embeddings that heads are fitted to in the tests."""

import numpy as np
import pyarrow as pa
import pytest

from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.heads.linear import Objective


def examples(seed: int = 0, images: int = 300, size: int = 12, classes: int = 3) -> Examples:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, images)
    centres = rng.normal(size=(classes, size))
    embeddings = (centres[truth] + 1.5 * rng.normal(size=(images, size))) * 3 + 7
    weights = rng.choice([0.5, 1.0, 2.0], images)
    return Examples(embeddings.astype(np.float32), truth, weights.astype(np.float32))


def labelled(rows: Examples, *sizes: int) -> LabelledEmbeddings:
    ends = np.cumsum(sizes).tolist()
    starts = [0, *ends[:-1]]
    names = ("train", "validation", "test")
    return LabelledEmbeddings(
        rows=rows,
        uris=pa.array([f"/{i}.jpg" for i in range(len(rows))]),
        digests=pa.array([f"{i:064x}" for i in range(len(rows))]),
        labels=tuple(f"label {i}" for i in range(classes_of(rows))),
        slices=dict(zip(names, map(slice, starts, ends), strict=True)),
        left_out={},
        task="multi" if rows.targets.ndim == 2 else "single",
    )


def classes_of(rows: Examples) -> int:
    return rows.targets.shape[1] if rows.targets.ndim == 2 else int(rows.targets.max()) + 1


def of_several_labels(seed: int = 0, images: int = 300, labels: int = 4) -> Examples:
    """Each label is likelier to one side of a plane of its own."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(images, 6)).astype(np.float32)
    chances = embeddings @ rng.normal(size=(6, labels)) + rng.normal(size=(images, labels))
    weights = rng.choice([0.5, 1.0, 2.0], images).astype(np.float32)
    return Examples(embeddings * 3 + 7, (chances > 0.5).astype(np.uint8), weights)


class Evaluations:
    """Counts the passes over the training images."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = Objective.evaluate

        def counted(objective: Objective, *arguments: object) -> object:
            self.count += 1
            return real(objective, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Objective, "evaluate", counted)


def rings(images: int = 600, seed: int = 0) -> LabelledEmbeddings:
    """Two labels that no linear head tells apart: inside and outside a circle."""
    rng = np.random.default_rng(seed)
    radius, angle = rng.choice([1.0, 2.5], images), rng.random(images) * 2 * np.pi
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points += 0.1 * rng.normal(size=points.shape)
    rows = Examples(
        (points * 50 + 300).astype(np.float32),
        (radius > 2).astype(np.int64),
        np.ones(images, np.float32),
    )
    return labelled(rows, *[images // 3] * 3)
