"""A row whose answer is known: it shows what an answer by itself does not.

What makes sense may still be another row's answer, or another model's with the same labels.
"""

from dataclasses import dataclass

import numpy as np

from linnaeus.errors import ConfigurationError, ServingError
from linnaeus.images import isolation
from linnaeus.models import Model, load
from linnaeus.records import Prediction
from linnaeus.storage import Folder
from serving.client.answers import TOP_K
from serving.client.batches import Value

SAME_ROW = 0.01
"""Scores of one row may differ by so much between two requests."""


@dataclass(frozen=True)
class CheckedRow:
    """A golden image as it is sent, and what is known of it."""

    name: str
    value: Value
    embedding: Value
    scores: dict[str, float] | None
    """Of its embedding, by label; None where the server's own first answer is what counts."""

    def refuse_other(self, address: str, said: Prediction, known: dict[str, float]) -> None:
        """Refuse what was said of it, if scores are not those of the labels as they are known.

        Raises:
            ServingError: they are not.
        """
        lowest = min(known.values())
        named = zip(said.top_labels, said.top_scores, strict=True)
        if any(abs(known.get(label, lowest) - score) > SAME_ROW for label, score in named):
            raise ServingError(
                f"{address} says {said.top_labels[0]} ({said.top_scores[0]:.3g}) of the golden"
                f" image {self.name}, and that is not what it is: it mixes rows up or serves"
                " another model; look at it, and run the same command again"
            )


def checked_row(workspace: Folder, model: Model, payload: str, gated: bool) -> CheckedRow | None:
    """The golden image whose best scores are furthest apart; None where there is none."""
    try:
        golden = load(workspace, model)
    except ConfigurationError:  # the skew gate has refused it, where that is asked
        return None
    one = max(golden, key=lambda one: np.diff(np.sort(one.scores)[-TOP_K:]).min(initial=1.0))
    value: Value = one.embedding if payload == "embedding" else one.data
    if payload == "pixels":
        value = isolation.decode(one.data, model.backbone.height, model.backbone.width).pixels
    scores = dict(zip(model.labels, one.scores.tolist(), strict=True)) if gated else None
    return CheckedRow(one.name, value, one.embedding, scores)
