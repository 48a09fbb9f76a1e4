"""A trained head passes its own gate, whatever it was trained on; what is skewed does not."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from linnaeus import images
from linnaeus.errors import GateFailed
from linnaeus.models import MOST_RELATIVE, GoldenImage, Model, ModelBackbone
from linnaeus.models import golden_images as kept
from linnaeus.signatures import OF_PAYLOAD
from linnaeus.storage import Folder
from linnaeus.training.config import Activation, KernelConfig, LayersConfig, LinearConfig
from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.evaluation.decisions import DecisionRule
from linnaeus.training.exporting import golden, tolerance
from linnaeus.training.heads import kernel, linear
from linnaeus.training.heads.head import Dense, Head, with_temperature
from serving.client import skew
from tests import pictures
from tests.linnaeus.training.heads.rows import labelled, of_several_labels
from tests.linnaeus.training.heads.test_exactness import curved, kernel_head, oracle

SOAK = pytest.mark.soak
GREYS = (10, 90, 170, 250)
"""Of the golden pictures, each of one colour."""
Embedding = NDArray[np.float32]


def test_the_bound_on_rounding_holds_and_is_far_below_what_scores_are_written_with() -> None:
    head, embeddings = kernel_head(1_000, 48, 200)
    error = np.abs(head.logits(embeddings) - oracle(head, embeddings)).max(axis=1)
    of_sums = tolerance.rounding(head, embeddings) - tolerance.OF_SCORES
    assert (2 * error <= of_sums).all()
    assert of_sums.max() < tolerance.OF_SCORES


def test_the_sensitivity_of_a_linear_head_is_the_length_of_its_gradient() -> None:
    weights = np.random.default_rng(0).normal(size=(400, 3))
    head = Head((Dense(weights, np.zeros(3)),))
    embeddings = np.random.default_rng(1).uniform(0, 0.02, (2, 400)).astype(np.float32)
    scores = np.exp(head.logits(embeddings))
    scores /= scores.sum(axis=1, keepdims=True)
    gradients = np.linalg.norm(weights.T - (scores @ weights.T)[:, None], axis=2)
    step = MOST_RELATIVE * np.abs(embeddings).max(axis=1)
    found = tolerance.sensitivity(head, embeddings, "single")
    assert np.allclose(found, step[:, None] * gradients, rtol=0.4)


@dataclass(frozen=True)
class Trained:
    """A head with its golden images, read back from where they were written."""

    head: Head
    model: Model
    golden: list[GoldenImage]

    def embedding(self, pixels: NDArray[np.uint8]) -> Embedding:
        """That of the golden picture of the same colour."""
        return self.golden[GREYS.index(int(pixels.flat[0]))].embedding


def written(head: Head, data: LabelledEmbeddings, folder: Path) -> Trained:
    """By `golden.write`, of rows that training saw, a strange one and one of zeros."""
    scale = np.array([[1], [1], [2.5], [0]], np.float32)
    rows = data.rows.embeddings[: len(GREYS)] * scale
    backbone = ModelBackbone("small", "f", 8, 8, rows.shape[1])
    model = Model("m", 1, data.labels, backbone, task=data.task)
    engine: Any = SimpleNamespace(embed=lambda pixels: rows)
    (folder / model.prefix).mkdir(parents=True)
    rule = DecisionRule(data.labels, data.task)
    golden.write(folder / model.prefix / "golden", engine, backbone, head, rule)
    return Trained(head, model, kept.load(Folder(str(folder)), model))


Engine = Callable[[Embedding], Embedding]


def engine(seed: int) -> Engine:
    """One that differs from the worker's by nearly all that it may, and a little from itself."""
    rng = np.random.default_rng(seed)

    def embed(embedding: Embedding) -> Embedding:
        always = np.random.default_rng(seed).uniform(-0.9, 0.9, embedding.shape)
        noise = always + rng.uniform(-0.09, 0.09, embedding.shape)
        return (embedding + MOST_RELATIVE * noise * np.abs(embedding).max()).astype(np.float32)

    return embed


class Server:
    """The exported head behind an engine, with the trained model's labels or others."""

    def __init__(self, trained: Trained, head: Head, embed: Engine | None = None) -> None:
        from linnaeus.training.exporting.signatures import SAYS, ExportedHead

        self._trained, self.embed, self.labels = trained, embed or engine(0), trained.model.labels
        self._head, self._says = ExportedHead(head), SAYS[trained.model.task]

    def ask(
        self,
        model: str,
        version: int,
        signature: str,
        values: Sequence[Any],
        outputs: Sequence[str],
    ) -> dict[str, NDArray[Any]]:
        value = values[0]
        if isinstance(value, bytes):
            value = images.decode(value, 8, 8).pixels
        if value.dtype == np.uint8:
            value = self.embed(self._trained.embedding(value))
        rule = DecisionRule(self.labels, self._trained.model.task)
        said = self._says(rule)(self._head(value[np.newaxis]))
        answers = {name: rows.numpy() for name, rows in said.items()}
        return {name: {**answers, "embedding": value[np.newaxis]}[name] for name in outputs}


def gate(trained: Trained, server: Server, payload: str) -> None:
    here = SimpleNamespace(embed=lambda pixels: trained.embedding(pixels)[np.newaxis])
    worker: Any = SimpleNamespace(spec=SimpleNamespace(height=8, width=8), engine=here)
    served = skew.Served(server, trained.model)
    found = skew.compare(served, trained.golden, payload, worker)
    skew.refuse_skew("here", trained.model, found)


def of_some_columns(data: LabelledEmbeddings, seed: int) -> LabelledEmbeddings:
    """Some that hardly vary around large values, as large networks have them."""
    rng = np.random.default_rng(seed)
    columns = rng.choice(data.rows.embeddings.shape[1], 3, replace=False)
    data.rows.embeddings[:, columns] *= 0.1
    data.rows.embeddings[:, columns] += rng.uniform(-30, 30, 3).astype(np.float32)
    return data


def several(images: int, seed: int) -> LabelledEmbeddings:
    return labelled(
        of_several_labels(seed, images, 5), images - 2 * (images // 5), *[images // 5] * 2
    )


def heads(seed: int) -> Iterator[tuple[Head, LabelledEmbeddings]]:
    """Convex heads of a random size and strength, of one label and of several."""
    rng = np.random.default_rng(seed)
    count, size = int(10 ** rng.uniform(1.5, 3.7)), int(rng.integers(6, 200))
    strength = (float(10 ** rng.uniform(-6, 0)),)
    one = of_some_columns(curved(count, size, seed), seed)
    for data in (one, several(count, seed)):
        yield linear.fit(data, LinearConfig(l2=strength)).finish(), data
        config = KernelConfig(
            int(rng.integers(5, 200)), (float(10 ** rng.uniform(-2, 0.5)),), strength
        )
        yield kernel.fit(data, config, seed).finish(), data


@pytest.fixture(autouse=True)
def _plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {f"{g}.png": pictures.encode(Image.new("RGB", (8, 8), (g, g, g)), "PNG") for g in GREYS}
    monkeypatch.setattr(golden, "encoded_pictures", lambda: drawn)


def passes_its_own_gate(head: Head, data: LabelledEmbeddings, folder: Path, seed: int) -> None:
    trained = written(head, data, folder)
    for payload in OF_PAYLOAD:
        gate(trained, Server(trained, head, engine(seed)), payload)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(n, marks=SOAK) for n in range(2, 8))])
def test_convex_heads_pass_their_own_gate(seed: int, tmp_path: Path) -> None:
    for number, (head, data) in enumerate(heads(seed)):
        passes_its_own_gate(head, data, tmp_path / str(number), seed)


@pytest.mark.slow
@pytest.mark.parametrize("images", [60, pytest.param(600, marks=SOAK), 4_000])
@pytest.mark.parametrize("make", [curved, several])
def test_heads_of_layers_pass_their_own_gate(
    make: Callable[[int, int], LabelledEmbeddings], images: int, tmp_path: Path
) -> None:
    from linnaeus.training.heads import layers

    data = of_some_columns(make(images, 40), 0)
    base = LayersConfig(epochs=4)
    configs = [replace(base, hidden=(64, 16), activation=name) for name in get_args(Activation)]
    for number, fit in enumerate(layers.fit_many(data, configs, seed=0)):
        passes_its_own_gate(fit.finish(), data, tmp_path / str(number), number)


@pytest.mark.slow
@pytest.mark.parametrize("payload", OF_PAYLOAD)
def test_another_head_other_names_and_a_trace_of_another_temperature_are_refused(
    payload: str, tmp_path: Path
) -> None:
    head, _ = kernel_head(1_000, 48, 200)
    trained = written(head, curved(1_000, 48), tmp_path)
    other = kernel.fit(curved(1_000, 48), KernelConfig(200, (0.1,), (1e-4,)), seed=1).finish()
    gate(trained, Server(trained, head), payload)
    renamed = Server(trained, head)
    renamed.labels = renamed.labels[::-1]
    warmer = Server(trained, with_temperature(head, 1 + 1e-5))
    for server in (Server(trained, other), renamed, warmer):
        with pytest.raises(GateFailed):
            gate(trained, server, payload)


@pytest.mark.slow
@pytest.mark.parametrize("share", [2e-4, 4e-3])
def test_pixels_that_are_seen_a_little_otherwise_are_refused(share: float, tmp_path: Path) -> None:
    """A server that adds one grey level moves embeddings by some thousandths."""
    head, _ = kernel_head(1_000, 48, 200)
    trained = written(head, curved(1_000, 48), tmp_path)
    brighter = Server(trained, head, lambda embedding: embedding * np.float32(1 + share))
    with pytest.raises(GateFailed, match=r"png: embedding differs by"):
        gate(trained, brighter, "pixels")


@pytest.mark.slow
def test_pixels_that_go_another_way_than_files_are_refused(tmp_path: Path) -> None:
    head, _ = kernel_head(1_000, 48, 200)
    trained = written(head, curved(1_000, 48), tmp_path)
    server = Server(trained, head)
    shares = itertools.cycle([5e-3, 0.0])  # of what is sent, of its embedding

    server.embed = lambda embedding: embedding * np.float32(1 + next(shares))
    with pytest.raises(GateFailed, match=r"png: scores differs by"):
        gate(trained, server, "image")
