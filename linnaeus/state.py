"""What the tables know of each object of a manifest: a join, no image is touched.

Failures with a permanent code stand while object, decoder and limits are the same; others are
tried again each run, up to `MAX_ATTEMPTS` times for one backbone or model. What a model's server
refused stands for that model only, and what went wrong before an object was embedded no longer.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from linnaeus import layout
from linnaeus.database import query
from linnaeus.embeddings import LOCATIONS, EmbeddingTable
from linnaeus.errors import FailureCode
from linnaeus.records import FAILURES, OBJECTS, PREDICTIONS
from linnaeus.storage import Folder
from linnaeus.tables import Table

MAX_ATTEMPTS = 5

_PERMANENT = ", ".join(f"'{code}'" for code in FailureCode if code.permanent)

_STATE = f"""
WITH read_before AS (
    SELECT position, any_value(sha256) AS sha256
    FROM listed JOIN objects USING (uri, etag) GROUP BY position
),
unread AS (FROM listed ANTI JOIN read_before USING (position)),
embedded_before AS (
    SELECT etag, size, any_value(sha256) AS sha256
    FROM objects SEMI JOIN unread USING (etag, size) SEMI JOIN locations USING (sha256)
    GROUP BY etag, size
),
content AS (
    FROM read_before
    UNION ALL
    SELECT position, sha256 FROM unread JOIN embedded_before USING (etag, size)
),
place AS (
    SELECT sha256, min_by(part, (part, "row")) AS part, min_by("row", (part, "row")) AS "row"
    FROM locations SEMI JOIN content USING (sha256) GROUP BY sha256
),
stored AS (SELECT position FROM read_before SEMI JOIN place USING (sha256)),
failed_before AS (
    SELECT position,
        bool_or(code IN ({_PERMANENT}) AND decoder = $decoder) AS hopeless,
        coalesce(max(attempt) FILTER (WHERE what = $what), 0) AS attempts,
        max_by(code, failed_at) AS code, max(failed_at) AS last_failed_at
    FROM listed JOIN failures USING (uri, etag)
    WHERE CASE stage WHEN 'score' THEN what = $what ELSE position NOT IN (FROM stored) END
    GROUP BY position
),
scored_before AS (SELECT DISTINCT position FROM listed JOIN predictions USING (uri, etag))
SELECT sha256, stored.position IS NOT NULL AS embedded, part, "row",
    coalesce(hopeless OR attempts >= {MAX_ATTEMPTS}, false) AS given_up,
    (coalesce(attempts, 0) + 1)::INTEGER AS attempt,
    code, last_failed_at,
    scored_before.position IS NOT NULL AS scored
FROM listed
LEFT JOIN content USING (position)
LEFT JOIN place USING (sha256)
LEFT JOIN stored USING (position)
LEFT JOIN failed_before USING (position)
LEFT JOIN scored_before USING (position)
ORDER BY position
"""


@dataclass(frozen=True)
class Question:
    """What is asked of the tables: by which backbone or model, with which decoder."""

    what: str
    """Fingerprint, or `name:version` of a model; failed attempts are counted for it."""
    decoder: str
    fingerprint: str | None = None
    """Whose embeddings count as stored; None: nobody's."""
    model: str | None = None
    model_version: int = 0


def known_state(workspace: Folder, manifest: pa.Table, question: Question) -> pa.Table:
    """The manifest's rows, in its order, with what is known of each.

    Further columns: `sha256` (of the object's content, or, where it was never read, of an embedded
    object of equal etag and size), `embedded` bool, `part` and `row` (where the vector lies),
    `given_up` bool, `attempt` int32 (number of the next try), `code` (of the last failure),
    `last_failed_at`, `scored` bool (by this model version).
    """
    sources = {
        "listed": with_position(manifest.select(["uri", "etag", "size"])),
        "objects": Table(workspace, layout.OBJECTS, OBJECTS).scan(
            ["uri", "etag", "size", "sha256"]
        ),
        "failures": Table(workspace, layout.FAILURES, FAILURES).scan(),
        "locations": _locations(workspace, question.fingerprint),
        "predictions": _predictions(workspace, question),
    }
    parameters = {
        "decoder": question.decoder,
        "what": question.what,
    }
    known = query(_STATE, sources, parameters)
    for name in known.column_names:
        manifest = manifest.append_column(name, known[name])
    return manifest


def known_objects(workspace: Folder, manifest: pa.Table, fingerprint: str) -> pa.Table:
    """The manifest's rows with `sha256`, null where no vector is stored, and failure `code`."""
    question = Question(fingerprint, decoder="", fingerprint=fingerprint)
    state = known_state(workspace, manifest, question)
    digests = pc.if_else(state["embedded"], state["sha256"], None)
    return manifest.append_column("sha256", digests).append_column("code", state["code"])


def with_position(rows: pa.Table) -> pa.Table:
    """The rows and their numbers, by which they are joined more cheaply than by their names."""
    return rows.append_column("position", pa.array(np.arange(len(rows))))


def _locations(workspace: Folder, fingerprint: str | None) -> pa.RecordBatchReader:
    if fingerprint is None:
        return pa.RecordBatchReader.from_batches(LOCATIONS, [])
    return EmbeddingTable(workspace, fingerprint).locations()


def _predictions(workspace: Folder, question: Question) -> pa.RecordBatchReader:
    columns = ["uri", "etag"]
    if question.model is None:
        schema = pa.schema([PREDICTIONS.field(name) for name in columns])
        return pa.RecordBatchReader.from_batches(schema, [])
    table = Table(workspace, layout.predictions(question.model), PREDICTIONS)
    return table.scan(columns, pc.field("model_version") == question.model_version)
