"""The skew gate: does a server say of a model's golden images what the worker's own path says?

Decoding, networks and heads exist twice, on the worker and in the exported graph. Before a run
asks a server about millions of pictures, a few pictures in which decoders and networks tend to
differ go both ways.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from linnaeus import isolation
from linnaeus.engines.precision import agreement
from linnaeus.errors import GateFailed, ServingError
from linnaeus.golden import GoldenImage, load
from linnaeus.models import Model
from linnaeus.plans import RunSpec
from linnaeus.storage import Folder
from linnaeus.worker import SIGNATURES, Worker
from serving.client.scoring import ScoringClient

MOST_RELATIVE = 1e-4
"""Largest difference of embeddings, or of scores' logarithms, as a share of the largest value."""
LEAST_COSINE = 0.99
"""Of the embeddings of bytes: TensorFlow's decoders and Pillow's are close, not equal."""
CLOSE_CALL = 0.05
"""Labels may differ where scores are this near each other, or a threshold."""
SMALLEST_SCORE = float(np.finfo(np.float32).tiny)
"""Below it float32 has fewer digits, and on some processors none."""

PAYLOADS = ("embedding", "pixels", "image")
SHOWN = 3


@dataclass(frozen=True)
class Comparison:
    """One golden image, one way of sending it: how far apart the two answers are."""

    image: str
    payload: str
    what: str
    """`embedding of this machine`, `embedding`, `scores`, `scores of its embedding`, `label`, or
    `labels by their scores`."""
    difference: float
    """Relative for vectors, 1 - cosine for embeddings of bytes, 1 for another label."""
    bound: float
    """What is allowed."""

    @property
    def passes(self) -> bool:
        """Whether it is within the bound; a difference that is no number is not."""
        return self.difference <= self.bound

    def __str__(self) -> str:
        return f"{self.image}: {self.what} differs by {self.difference:.2g} ({self.bound:.2g} may)"


class Answering(Protocol):
    """Whoever answers as a model server does: `ScoringClient`, or a graph in this process."""

    def ask(
        self,
        model: str,
        version: int,
        signature: str,
        values: Sequence[bytes | NDArray[Any]],
        outputs: Sequence[str],
    ) -> dict[str, NDArray[Any]]:
        """Some outputs of one request, by name."""


@dataclass(frozen=True)
class Served:
    """A version of a model at a server, asked about one image at a time."""

    client: Answering
    model: Model

    def ask(self, signature: str, value: bytes | NDArray[Any], output: str) -> NDArray[np.float32]:
        """One output's row of one image.

        Raises:
            ServingError: the server refuses the image, or the signature.
        """
        return self.ask_all(signature, value, [output])[0]

    def ask_all(
        self, signature: str, value: bytes | NDArray[Any], outputs: Sequence[str]
    ) -> list[NDArray[Any]]:
        """The same of several outputs, in their order."""
        model = self.model
        found = self.client.ask(model.name, model.version, signature, [value], outputs)
        return [found[output][0] for output in outputs]


def compare_all(workspace: Folder, model: Model, server: str | None) -> list[Comparison]:
    """Compare by every payload; asks the embedded server where none is named.

    Raises:
        LinnaeusError: the server cannot be asked, or the model or its backbone is not there.
    """
    from serving.local import start_server

    started: AbstractContextManager[str] = (
        nullcontext(server) if server else start_server(workspace.uri, model.name, model.version)
    )
    run = RunSpec("", "score", "", "", model.fingerprint)
    golden = load(workspace, model)
    with (
        started as address,
        ScoringClient(address) as client,
        closing(Worker(workspace, run)) as worker,
    ):
        client.resolve_version(model.name, model.version)
        served = Served(client, model)
        return [one for payload in PAYLOADS for one in compare(served, golden, payload, worker)]


def compare(
    served: Served, golden: Sequence[GoldenImage], payload: str, worker: Worker
) -> list[Comparison]:
    """Send golden images by one payload and compare with what a worker makes of them here.

    Raises:
        ServingError: the server refuses a golden image.
    """
    compare_one = {"embedding": _embedding, "pixels": _pixels, "image": _image}[payload]
    comparisons: list[Comparison] = []
    for one in golden:
        try:
            comparisons += compare_one(served, one, worker)
        except ServingError as error:
            raise ServingError(f"golden image {one.name}: {error}", error.code) from error
    return comparisons


def refuse_skew(address: str, model: Model, comparisons: Sequence[Comparison]) -> None:
    """Refuse a run whose server and worker differ.

    Raises:
        GateFailed: some comparison is beyond its bound; the message has the worst ones.
    """
    failed = sorted((c for c in comparisons if not c.passes), key=_excess, reverse=True)
    if failed:
        worst = "; ".join(map(str, failed[:SHOWN]))
        raise GateFailed(
            f"{address} and this machine disagree about {len({c.image for c in failed})} of "
            f"{len({c.image for c in comparisons})} golden images of {model.name}:{model.version}"
            f" sent as {failed[0].payload}: {worst}; serve the version as it was exported, with "
            "the release that trained it, or allow the difference with --no-skew-gate"
        )


def _excess(comparison: Comparison) -> float:
    excess = comparison.difference / comparison.bound if comparison.bound else np.inf
    return float(np.nan_to_num(excess, nan=np.inf))


def _embedding(served: Served, golden: GoldenImage, worker: Worker) -> list[Comparison]:
    """The worker's vector against the one that the model was made with, then the head on that."""
    here = worker.engine.embed(_decoded(golden, worker)[np.newaxis])[0]
    scores, named = _said(served, golden, "embedding", golden.embedding)
    return [
        _embedding_here(served.model, golden, here),
        of_scores(golden, "embedding", scores),
        named,
    ]


def _embedding_here(model: Model, golden: GoldenImage, here: NDArray[np.float32]) -> Comparison:
    what = "embedding of this machine"
    if model.backbone.precision == "float32":
        difference = relative(here, golden.embedding)
        return Comparison(golden.name, "embedding", what, difference, MOST_RELATIVE)
    distance = _distance(here, golden.embedding)
    return Comparison(golden.name, "embedding", what, distance, 1 - LEAST_COSINE)


def _pixels(served: Served, golden: GoldenImage, worker: Worker) -> list[Comparison]:
    scores, named = _said(served, golden, "pixels", _decoded(golden, worker))
    if served.model.backbone.precision != "float32":  # the exported graph computes in float32
        label = _label(served.model, golden, "pixels", scores)
        return [label, named, _head(served, golden, "pixels")]
    return [of_scores(golden, "pixels", scores), named]


def _image(served: Served, golden: GoldenImage, worker: Worker) -> list[Comparison]:
    distance = _distance(served.ask("embed", golden.data, "embedding"), golden.embedding)
    scores, named = _said(served, golden, "image", golden.data)
    return [
        Comparison(golden.name, "image", "embedding", distance, 1 - LEAST_COSINE),
        _label(served.model, golden, "image", scores),
        named,
        _head(served, golden, "image"),
    ]


def _said(
    served: Served, golden: GoldenImage, payload: str, value: bytes | NDArray[Any]
) -> tuple[NDArray[np.float32], Comparison]:
    """The scores, and whether the best labels beside them are the model's own for such scores."""
    scores, top = served.ask_all(SIGNATURES[payload], value, ["scores", "top_labels"])
    known = {label.encode(): place for place, label in enumerate(served.model.labels)}
    places = [known.get(label, -1) for label in top.ravel().tolist()]
    sound = scores.shape == (len(known),) and bool(places) and min(places) >= 0
    same = sound and np.array_equal(scores[places], np.sort(scores)[::-1][: len(places)])
    what = "labels by their scores"
    return scores, Comparison(golden.name, payload, what, 0.0 if same else 1.0, 0.0)


def _head(served: Served, golden: GoldenImage, payload: str) -> Comparison:
    """Close labels do not tell heads apart; the embedding goes to the head past every decoder."""
    scores = served.ask("embedding", golden.embedding, "scores")
    return replace(of_scores(golden, payload, scores), what="scores of its embedding")


def _decoded(golden: GoldenImage, worker: Worker) -> NDArray[np.uint8]:
    return isolation.decode(golden.data, worker.spec.height, worker.spec.width).pixels


def of_scores(golden: GoldenImage, payload: str, scores: NDArray[np.float32]) -> Comparison:
    """Whether a server's scores [C] are the ones of the golden image."""
    difference = relative(_logarithms(scores), _logarithms(golden.scores))
    return Comparison(golden.name, payload, "scores", difference, MOST_RELATIVE)


def _logarithms(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """A head is sure of drawings that no training saw: only the exponents still tell its inputs."""
    return np.log(np.maximum(scores, SMALLEST_SCORE))


def _label(
    model: Model, golden: GoldenImage, payload: str, scores: NDArray[np.float32]
) -> Comparison:
    thresholds = [model.thresholds.get(label, 0.5) for label in model.labels]
    several = np.array(thresholds) if model.task == "multi" else None
    same = same_labels(scores, golden.scores, several)
    return Comparison(golden.name, payload, "label", 0.0 if same else 1.0, 0.0)


def relative(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference of two vectors' values over the largest value; 1 for other shapes."""
    if found.shape != expected.shape:
        return 1.0
    largest = float(np.abs(expected).max(initial=0.0))
    difference = float(np.abs(found - expected).max(initial=0.0))
    return difference / largest if largest else difference


def same_labels(
    found: NDArray[np.float32],
    expected: NDArray[np.float32],
    thresholds: NDArray[np.float64] | None = None,
) -> bool:
    """Whether scores [C] say the same; close calls among the expected ones always do.

    Args:
        found: the server's.
        expected: the worker's.
        thresholds: [C], where several labels may apply; None where the best one does.
    """
    if found.shape != expected.shape:
        return False
    if thresholds is not None:
        close = np.abs(expected - thresholds) <= CLOSE_CALL
        return bool(np.all(((found >= thresholds) == (expected >= thresholds)) | close))
    best = np.sort(expected)[::-1]
    close_call = len(best) > 1 and best[0] - best[1] <= CLOSE_CALL
    return bool(close_call or found.argmax() == expected.argmax())


def _distance(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if found.shape != expected.shape:
        return 1.0
    return 1 - agreement(expected[np.newaxis], found[np.newaxis]).cosine_min
