"""The drift of the images that a scoring run labelled against those its model was trained on."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from linnaeus import layout, models
from linnaeus.errors import LinnaeusError
from linnaeus.records import PREDICTIONS, UNKNOWN
from linnaeus.storage import Folder
from linnaeus.tables import Table, database
from linnaeus.workflow.drift.measures import (
    EmbeddingDrift,
    LabelDrift,
    embedding_drift,
    label_drift,
)
from linnaeus.workflow.drift.reference import reference_of
from linnaeus.workflow.drift.sampled_moments import stored_moments

_LABELS = """
SELECT label, count(*) FROM (
    SELECT unnest(labels) AS label FROM predicted
) GROUP BY label ORDER BY label
"""
_UNKNOWN = "SELECT count(*) FILTER (WHERE len(labels) = 0), count(*) FROM predicted"


@dataclass(frozen=True)
class Drift:
    """Against the training images of the model that labelled the images."""

    model: str | None = None
    """`NAME:VERSION`."""
    embeddings: EmbeddingDrift | None = None
    labels: LabelDrift | None = None
    unknown_share: float | None = None
    """Of the images labelled in this run, those of which the model was not sure enough."""
    why_not: str = ""
    """Why nothing could be measured."""


def of_scoring_run(workspace: Folder, model: str, version: int | None, run_id: str | None) -> Drift:
    """The drift of what a scoring run labelled; why there is none, where that is so.

    Args:
        workspace: where the run is.
        model: who labelled.
        version: of the model; None where nobody did.
        run_id: of the scoring run; None where nothing was to label.
    """
    if version is None or run_id is None:
        return Drift(why_not="nothing was labelled")
    name = f"{model}:{version}"
    try:
        return _measured(workspace, name, run_id)
    except LinnaeusError as error:
        return Drift(name, why_not=str(error))
    except Exception as error:  # a workflow run's labels do not depend on it
        return Drift(name, why_not=f"{type(error).__name__}: {error}")


def _measured(workspace: Folder, name: str, run_id: str) -> Drift:
    model = models.load_model(workspace, name)
    counts = _label_counts(workspace, model.name, run_id)
    if not counts.labelled:
        return Drift(name, why_not="nothing was labelled")
    reference = reference_of(workspace, model)
    contents = _predictions(workspace, model.name, run_id, "sha256")
    scored = stored_moments(workspace, model.fingerprint, contents)
    return Drift(
        name,
        embedding_drift(scored, reference.moments),
        label_drift(counts.labels, reference.labels),
        counts.unknown / counts.labelled,
    )


@dataclass(frozen=True)
class _LabelCounts:
    """How often a run gave each label, and of how many images."""

    labels: dict[str, int]
    unknown: int
    labelled: int


def _label_counts(workspace: Folder, model: str, run_id: str) -> _LabelCounts:
    with database({"predicted": _predictions(workspace, model, run_id, "labels")}) as connection:
        labels = dict(connection.execute(_LABELS).fetchall())
        [(unknown, labelled)] = connection.execute(_UNKNOWN).fetchall()
    labels.pop(UNKNOWN, None)
    return _LabelCounts(labels, unknown, labelled)


def _predictions(workspace: Folder, model: str, run_id: str, column: str) -> pa.RecordBatchReader:
    table = Table(workspace, layout.predictions(model), PREDICTIONS)
    return table.scan([column], pc.field("run_id") == run_id)
