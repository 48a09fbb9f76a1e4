"""The skew gate: does a server say of a model's golden images what the worker's own path says?

Decoding, networks and heads exist twice, on the worker and in the exported graph. Before a run
asks a server about millions of pictures, a few pictures in which decoders and networks tend to
differ go both ways. Compared are the embedding of what is sent with the worker's; the scores of it
with the server's own scores of that embedding, `SPREAD` sensitivities apart; and its scores of the
worker's embedding with the worker's, which only rounding may change.
`linnaeus.training.exporting.tolerance` computed both for the head and image at hand.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from linnaeus.engines import agreement
from linnaeus.errors import GateFailed, ServingError
from linnaeus.images import isolation
from linnaeus.models import MOST_RELATIVE, GoldenImage, Model, load, logarithms
from linnaeus.planning import EmbedJob
from linnaeus.signatures import EMBED, EMBEDDING, OF_PAYLOAD, SCORES
from linnaeus.storage import Folder
from linnaeus.worker import Worker
from serving.client.scoring import ScoringClient

LEAST_COSINE = 0.99
"""Of the embeddings of bytes: TensorFlow's decoders and Pillow's are close, not equal."""
SPREAD = 4.0
"""Standard deviations: one in 15,000 sound differences is larger, were all as large as allowed."""

SHOWN = 3


@dataclass(frozen=True)
class Comparison:
    """One golden image, one way of sending it: how far apart the two answers are."""

    image: str
    payload: str
    what: str
    """`embedding of this machine`, `embedding`, `scores`, `scores of its embedding`, or `labels by
    their scores`."""
    difference: float
    """Embeddings: relative, or 1 - cosine. Scores: of their logarithms. Labels: 1."""
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

    def ask(self, signature: str, value: bytes | NDArray[Any], *outputs: str) -> list[NDArray[Any]]:
        """Some outputs' rows of one image.

        Raises:
            ServingError: the server refuses the image, or the signature.
        """
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
    run = EmbedJob(model.fingerprint).new_run("", "")
    golden = load(workspace, model)
    with (
        started as address,
        ScoringClient(address) as client,
        closing(Worker(workspace, run)) as worker,
    ):
        client.resolve_version(model.name, model.version)
        served = Served(client, model)
        return [one for payload in OF_PAYLOAD for one in compare(served, golden, payload, worker)]


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
        replace(_embedded(served, golden, "embedding", here), what="embedding of this machine"),
        of_scores(golden, "embedding", scores, golden.scores, golden.rounding),
        named,
    ]


def _pixels(served: Served, golden: GoldenImage, worker: Worker) -> list[Comparison]:
    pixels = _decoded(golden, worker)
    lossless = BytesIO()
    Image.fromarray(pixels).save(lossless, "PNG")
    return _sent(served, golden, "pixels", pixels, lossless.getvalue())


def _image(served: Served, golden: GoldenImage, worker: Worker) -> list[Comparison]:
    return _sent(served, golden, "image", golden.data, golden.data)


def _sent(
    served: Served, golden: GoldenImage, payload: str, value: bytes | NDArray[Any], encoded: bytes
) -> list[Comparison]:
    """The three steps for a value; `encoded` is the file that decodes to the same picture."""
    scores, named = _said(served, golden, payload, value)
    [embedding] = served.ask(EMBED, encoded, EMBEDDING)
    [of_it] = served.ask(EMBEDDING, embedding, SCORES)
    [of_golden] = served.ask(EMBEDDING, golden.embedding, SCORES)
    bound = golden.rounding + SPREAD * golden.sensitivity
    head = of_scores(golden, payload, of_golden, golden.scores, golden.rounding)
    return [
        _embedded(served, golden, payload, embedding),
        of_scores(golden, payload, scores, of_it, bound),
        named,
        replace(head, what="scores of its embedding"),
    ]


def _embedded(
    served: Served, golden: GoldenImage, payload: str, found: NDArray[np.float32]
) -> Comparison:
    """An embedding against the golden image's, which only float32 gives again from equal pixels."""
    if payload != "image" and served.model.backbone.precision == "float32":
        difference, bound = relative(found, golden.embedding), MOST_RELATIVE
    else:
        difference, bound = _distance(found, golden.embedding), 1 - LEAST_COSINE
    return Comparison(golden.name, payload, "embedding", difference, bound)


def _said(
    served: Served, golden: GoldenImage, payload: str, value: bytes | NDArray[Any]
) -> tuple[NDArray[np.float32], Comparison]:
    """The scores, and whether the best labels beside them are the model's own for such scores."""
    scores, top = served.ask(OF_PAYLOAD[payload], value, SCORES, "top_labels")
    known = {label.encode(): place for place, label in enumerate(served.model.labels)}
    places = [known.get(label, -1) for label in top.ravel().tolist()]
    sound = scores.shape == (len(known),) and bool(places) and min(places) >= 0
    same = sound and np.array_equal(scores[places], np.sort(scores)[::-1][: len(places)])
    what = "labels by their scores"
    return scores, Comparison(golden.name, payload, what, 0.0 if same else 1.0, 0.0)


def _decoded(golden: GoldenImage, worker: Worker) -> NDArray[np.uint8]:
    return isolation.decode(golden.data, worker.spec.height, worker.spec.width).pixels


def of_scores(
    golden: GoldenImage,
    payload: str,
    found: NDArray[np.float32],
    expected: NDArray[np.float32],
    bound: NDArray[np.float64] | float,
) -> Comparison:
    """The logarithm of scores [C] that is furthest beyond its bound, a number or [C]."""
    if found.shape != expected.shape:
        return Comparison(golden.name, payload, "scores", 1.0, 0.0)
    differences = np.abs(logarithms(found) - logarithms(expected))
    bounds = np.broadcast_to(bound, differences.shape)
    worst = int(np.argmax(differences - bounds))
    return Comparison(
        golden.name, payload, "scores", float(differences[worst]), float(bounds[worst])
    )


def relative(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference of two vectors' values over the largest value; 1 for other shapes."""
    if found.shape != expected.shape:
        return 1.0
    largest = float(np.abs(expected).max(initial=0.0))
    difference = float(np.abs(found - expected).max(initial=0.0))
    return difference / largest if largest else difference


def _distance(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if found.shape != expected.shape:
        return 1.0
    return 1 - agreement(expected[np.newaxis], found[np.newaxis]).cosine_min
