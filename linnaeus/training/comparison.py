"""A newly trained model against the one before it, on the same test images."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from linnaeus import layout
from linnaeus.models import Model
from linnaeus.records import HELD_OUT_PREDICTIONS
from linnaeus.storage import Folder
from linnaeus.tables import parts, stored
from linnaeus.training.data.held_out import seen
from linnaeus.training.evaluate import scores_of
from linnaeus.training.evaluation.decisions import DecisionRule


@dataclass(frozen=True)
class Comparison:
    """Accuracies on images that neither of two models was trained on."""

    images: int
    accuracy: float
    """Of the new model."""
    before: float
    """Of the one before it."""


def compare(workspace: Folder, home: Folder, model: Model, before: Model) -> Comparison | None:
    """Holds two models against each other on the new one's test images.

    Left out are those that the other model was trained on, that have labels which it does not know,
    or that its backbone has not embedded; None where that leaves nothing.

    Args:
        workspace: where embeddings and the other model lie.
        home: where the new model and what it was tested on lie.
        model: the new one.
        before: the other one.
    """
    if model.task != before.task:
        return None
    predictions = parts.read(home, layout.held_out_predictions(model.run_id), HELD_OUT_PREDICTIONS)
    tested = _shared(workspace, predictions.filter(pc.equal(predictions["split"], "test")), before)
    if not len(tested):
        return None
    truth = [set(one) for one in tested["truth"].to_pylist()]
    now = [set(one) for one in _said(tested, model)]
    then = _said_by(workspace, before, tested["sha256"].to_pylist())
    return Comparison(len(tested), _accuracy(now, truth), _accuracy(then, truth))


def _shared(workspace: Folder, tested: pa.Table, before: Model) -> pa.Table:
    known = [set(truth) <= set(before.labels) for truth in tested["truth"].to_pylist()]
    tested = tested.filter(pa.array(known, pa.bool_()))
    there = stored(workspace, before.fingerprint, tested["sha256"].combine_chunks())
    tested = tested.filter(pa.array(there))
    return tested.filter(pc.invert(seen(workspace, tested, before)))


def _said(tested: pa.Table, model: Model) -> list[list[str]]:
    """Best labels, whether or not the model would rather say `unknown`."""
    if model.task == "multi":
        return list(tested["labels"].to_pylist())
    return [best[:1] for best in tested["top_labels"].to_pylist()]


def _said_by(workspace: Folder, model: Model, digests: list[str]) -> list[set[str]]:
    scores = scores_of(workspace, model, digests)
    rule = DecisionRule.of(model)
    if rule.task == "multi":
        chosen = rule.chosen(scores)
        return [{rule.labels[label] for label in np.flatnonzero(row)} for row in chosen]
    return [{rule.labels[label]} for label in scores.argmax(axis=1)]


def _accuracy(predicted: list[set[str]], truth: list[set[str]]) -> float:
    return sum(one == other for one, other in zip(predicted, truth, strict=True)) / len(truth)
