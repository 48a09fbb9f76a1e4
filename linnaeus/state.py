"""What the tables know of each object of a manifest: a join, no image is touched.

Failures with a permanent code stand while object, decoder and limits are the same; others are
tried again each run, up to `MAX_ATTEMPTS` times for one backbone or model.
"""

from dataclasses import dataclass

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
WITH listed AS (SELECT *, row_number() OVER () AS position FROM manifest),
places AS (
    SELECT sha256, min_by(part, (part, "row")) AS part, min_by("row", (part, "row")) AS "row"
    FROM locations GROUP BY sha256
),
read_before AS (
    SELECT uri, etag, any_value(sha256) AS sha256
    FROM objects SEMI JOIN listed USING (uri, etag) GROUP BY uri, etag
),
alike AS (
    SELECT etag, size, any_value(sha256) AS sha256
    FROM objects SEMI JOIN listed USING (etag, size) SEMI JOIN places USING (sha256)
    GROUP BY etag, size
),
failed_before AS (
    SELECT uri, etag,
        bool_or(code IN ({_PERMANENT}) AND decoder = $decoder) AS hopeless,
        coalesce(max(attempt) FILTER (WHERE what = $what), 0) AS attempts,
        max_by(code, failed_at) AS code
    FROM failures SEMI JOIN listed USING (uri, etag) GROUP BY uri, etag
),
scored_before AS (SELECT DISTINCT uri, etag FROM predictions)
SELECT listed.* EXCLUDE (position),
    coalesce(read_before.sha256, alike.sha256) AS sha256,
    read_before.sha256 IS NOT NULL AND places.part IS NOT NULL AS embedded,
    places.part, places."row",
    coalesce(hopeless OR attempts >= {MAX_ATTEMPTS}, false) AS given_up,
    (coalesce(attempts, 0) + 1)::INTEGER AS attempt,
    failed_before.code,
    scored_before.uri IS NOT NULL AS scored
FROM listed
LEFT JOIN read_before USING (uri, etag)
LEFT JOIN alike USING (etag, size)
LEFT JOIN places ON places.sha256 = coalesce(read_before.sha256, alike.sha256)
LEFT JOIN failed_before USING (uri, etag)
LEFT JOIN scored_before USING (uri, etag)
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
    `scored` bool (by this model version).
    """
    sources = {
        "manifest": manifest,
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
    return query(_STATE, sources, parameters)


def known_objects(workspace: Folder, manifest: pa.Table, fingerprint: str) -> pa.Table:
    """The manifest's rows with `sha256`, null where no vector is stored, and failure `code`."""
    state = known_state(
        workspace, manifest, Question(fingerprint, decoder="", fingerprint=fingerprint)
    )
    return query(
        'SELECT * EXCLUDE (embedded, part, "row", given_up, attempt, scored)'
        " REPLACE (CASE WHEN embedded THEN sha256 END AS sha256) FROM state",
        {"state": state},
    )


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
