"""A row whose answer is known: it shows what an answer by itself does not.

What makes sense may still be another row's answer, or another model's with the same labels.
"""

from dataclasses import dataclass

import numpy as np

from linnaeus import isolation
from linnaeus.errors import ConfigurationError, ServingError
from linnaeus.golden import load
from linnaeus.models import Model
from linnaeus.records import Prediction
from linnaeus.storage import Folder
from serving.client.batches import Value

CLEAR = 0.1
"""Between the scores of the two best labels: decoders and processors change no such winner."""
SAME_ROW = 0.01
"""Scores of one row may differ by so much between two requests."""


@dataclass(frozen=True)
class CheckedRow:
    """A golden image as it is sent, and what is known of it."""

    name: str
    value: Value
    best: str | None
    """Its best label; None where the server's first answer decides."""

    def refuse_other(self, address: str, said: Prediction, before: Prediction | None) -> None:
        """Refuse what was said of it, if it is no answer of this model or not what was said before.

        Raises:
            ServingError: it is not.
        """
        moved = np.subtract(said.top_scores, before.top_scores) if before else np.zeros(1)
        best = self.best or (before or said).top_labels[0]
        if said.top_labels[0] != best or np.abs(moved).max() > SAME_ROW:
            raise ServingError(
                f"{address} says {said.top_labels[0]} ({said.top_scores[0]:.3g}) of the golden"
                f" image {self.name}, which is {best}, or was less or more so before: it mixes"
                " rows up or serves another model; look at it, and run the same command again"
            )


def checked_row(workspace: Folder, model: Model, payload: str, gated: bool) -> CheckedRow | None:
    """The golden image of which a model is least sure, but not so little that rounding decides.

    Scores near 1 are those of many rows. None where the model has no golden images.
    """
    try:
        golden = load(workspace, model)
    except ConfigurationError:  # the skew gate has refused it, where that is asked
        return None
    ordered = {one.name: np.sort(np.append(one.scores, 0)) for one in golden}
    clear = [one for one in golden if np.diff(ordered[one.name])[-1] > CLEAR]
    one = min(clear or golden, key=lambda one: ordered[one.name][-1])
    value: Value = one.embedding if payload == "embedding" else one.data
    if payload == "pixels":
        value = isolation.decode(one.data, model.backbone.height, model.backbone.width).pixels
    best = model.labels[one.scores.argmax()] if gated and clear else None
    return CheckedRow(one.name, value, best)
