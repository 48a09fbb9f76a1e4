"""What a newly trained model predicts of each picture that it was not fitted on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnaeus.records import HELD_OUT_PREDICTIONS, UNKNOWN
from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.evaluation.decisions import DecisionRule, Scores, Task

MOST_MISTAKES = 1_000


def held_out_predictions(
    data: LabelledEmbeddings, scores: Mapping[str, Scores], rule: DecisionRule
) -> pa.Table:
    """What the model predicts of each picture, schema `linnaeus.records.HELD_OUT_PREDICTIONS`.

    Args:
        data: with the splits of `scores`.
        scores: [n, C] of each split, in the order of its rows: those of the test by the model
            itself, those of validation by a head that was not fitted on it.
        rule: of the model.
    """
    tables = [_of_split(data, name, of_split, rule) for name, of_split in scores.items()]
    return pa.concat_tables([HELD_OUT_PREDICTIONS.empty_table(), *tables])


def mistakes(predictions: pa.Table, task: Task = "single") -> list[dict[str, Any]]:
    """Misclassified test pictures, the most confident first, at most 1,000.

    single: those whose best label is not the true one, even if the model says `unknown` instead.
    multi: those of which not exactly the true labels are predicted.

    Returns:
        `{uri, true, predicted, score}`; several labels are joined by commas.
    """
    tested = predictions.filter(pc.equal(predictions["split"], "test"))
    rows = tested.sort_by([("confidence", "descending"), ("uri", "ascending")]).to_pylist()
    wrong = [row for row in rows if set(_predicted(row, task)) != set(row["truth"])]
    return [
        {
            "uri": row["uri"],
            "true": ", ".join(row["truth"]),
            "predicted": ", ".join(_predicted(row, task)) or UNKNOWN,
            "score": row["confidence"],
        }
        for row in wrong[:MOST_MISTAKES]
    ]


def _predicted(row: dict[str, Any], task: Task) -> list[str]:
    labels: list[str] = row["labels"] if task == "multi" else row["top_labels"][:1]
    return labels


def _of_split(data: LabelledEmbeddings, name: str, scores: Scores, rule: DecisionRule) -> pa.Table:
    rows = data.slices[name]
    decisions = rule.decide(scores)
    columns = {
        "uri": data.uris[rows],
        "sha256": data.digests[rows],
        "split": [name] * len(scores),
        "truth": _truth(data.rows.targets[rows], rule),
        **vars(decisions),
        "top_scores": list(decisions.top_scores),
    }
    return pa.table(
        [columns[field.name] for field in HELD_OUT_PREDICTIONS], schema=HELD_OUT_PREDICTIONS
    )


def _truth(targets: NDArray[Any], rule: DecisionRule) -> list[list[str]]:
    if rule.task == "single":
        return [[rule.labels[label_id]] for label_id in targets]
    return [[rule.labels[label_id] for label_id in np.flatnonzero(row)] for row in targets]
