"""What the tables know of each object of a manifest: joins, no image is touched.

Failures with a permanent code stand while object, decoder and limits are the same; others are
tried again each run, up to `MAX_ATTEMPTS` times for one backbone or model. What a model's server
refused stands for that model only, and what went wrong before an object was embedded no longer.

Ten million objects fit because nothing long is joined: an object is known by 128 bits of the MD5
of its names, a vector by the number of its part and row. Of those that are to be described only,
the names themselves are read, in a second look. Two of n names share 128 bits with a probability
of n² / 2¹²⁹: for ten million, 10⁻²⁵.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from duckdb import DuckDBPyConnection

from linnaeus import layout
from linnaeus.errors import FailureCode
from linnaeus.records import FAILURES, OBJECTS, PREDICTIONS
from linnaeus.storage import Folder, map_store_errors
from linnaeus.tables import PLACES, EmbeddingTable, Table, database

MAX_ATTEMPTS = 5

_PERMANENT = ", ".join(f"'{code}'" for code in FailureCode if code.permanent)

_OBJECT = "md5_number(uri || chr(0) || etag)"
_VERSION = "md5_number(etag || chr(0) || size)"
_CONTENT = "md5_number(sha256)"

_KNOWN = {
    "keyed": f"SELECT position, {_OBJECT} AS object FROM listed",
    "stored": f"SELECT {_CONTENT} AS content, part << 32 | row AS place FROM places",
    "seen": f"""
        SELECT {_OBJECT} AS object, {_VERSION} AS version, {_CONTENT} AS content FROM objects""",
    "read_before": """
        SELECT position, any_value(content) AS content
        FROM keyed JOIN seen USING (object) GROUP BY position""",
    "embedded": "SELECT position FROM read_before SEMI JOIN stored USING (content)",
    "failed_before": f"""
        SELECT position,
            bool_or(code IN ({_PERMANENT}) AND decoder = $decoder) AS hopeless,
            coalesce(max(attempt) FILTER (WHERE computed_by = $computed_by), 0) AS attempts,
            max_by(code, failed_at) AS code, max(failed_at) AS last_failed_at
        FROM keyed JOIN (SELECT *, {_OBJECT} AS object FROM failures) USING (object)
        WHERE CASE stage WHEN 'score' THEN computed_by = $computed_by
            ELSE position NOT IN (FROM embedded) END
        GROUP BY position""",
    "scored": f"""
        SELECT position FROM keyed SEMI JOIN
            (SELECT {_OBJECT} AS object FROM predictions WHERE trained_by = $computed_by)
            USING (object)""",
    "known": f"""
        SELECT position,
            embedded.position IS NOT NULL AS embedded,
            scored.position IS NOT NULL AS scored,
            coalesce(hopeless OR attempts >= {MAX_ATTEMPTS}, false) AS given_up,
            (coalesce(attempts, 0) + 1)::INTEGER AS attempt,
            code
        FROM keyed
        LEFT JOIN embedded USING (position)
        LEFT JOIN scored USING (position)
        LEFT JOIN failed_before USING (position)""",
}
"""Tables over all objects, each made from those before it."""

_DESCRIBED = {
    "unread": f"""
        SELECT position, {_VERSION} AS version
        FROM listed SEMI JOIN wanted USING (position) ANTI JOIN read_before USING (position)""",
    "embedded_before": """
        SELECT version, any_value(content) AS content
        FROM seen SEMI JOIN unread USING (version) SEMI JOIN stored USING (content)
        GROUP BY version""",
    "contents": """
        FROM read_before SEMI JOIN wanted USING (position)
        UNION ALL
        SELECT position, content FROM unread JOIN embedded_before USING (version)""",
    "digests": f"""
        SELECT content, any_value(sha256) AS sha256
        FROM (SELECT {_CONTENT} AS content, sha256 FROM objects) SEMI JOIN contents USING (content)
        GROUP BY content""",
    "located": """
        SELECT content, min(place) AS place
        FROM stored SEMI JOIN contents USING (content) GROUP BY content""",
}
"""Tables over the objects in the table `wanted` alone."""

DESCRIBED = """
    SELECT position, uri, etag, size, attempt, sha256, parts.part, place & 4294967295 AS "row",
        place, embedded, given_up, code, scored
    FROM listed JOIN wanted USING (position) JOIN known USING (position)
    LEFT JOIN contents USING (position)
    LEFT JOIN digests USING (content)
    LEFT JOIN located USING (content)
    LEFT JOIN parts ON parts.number = place >> 32
"""
"""The wanted objects with all that is known of them."""


@dataclass(frozen=True)
class Question:
    """What is asked of the tables: by which backbone or model, with which decoder."""

    computed_by: str
    """`RunSpec.computed_by`: whose predictions and failed attempts are counted."""
    decoder: str
    fingerprint: str | None = None
    """Whose embeddings count as stored; None: nobody's."""
    model: str | None = None
    """Whose predictions are looked at."""


@contextmanager
def known(
    workspace: Folder, manifest: pa.Table | Path, question: Question
) -> Iterator[DuckDBPyConnection]:
    """A database that knows each object of a manifest, in its tables `listed` and `known`.

    Args:
        workspace: whose tables are asked.
        manifest: rows or a Parquet file; `position` is a row's number in it.
        question: `known` has `position`, `embedded`, `scored` (by this model), `given_up`,
            `attempt` (number of the next try) and `code` (of the last failure).
    """
    table = EmbeddingTable(workspace, question.fingerprint) if question.fingerprint else None
    names = table.parts if table else []
    sources = {
        "listed": manifest if isinstance(manifest, Path) else with_position(manifest),
        "objects": Table(workspace, layout.OBJECTS, OBJECTS).dataset(),
        "failures": Table(workspace, layout.FAILURES, FAILURES).dataset(),
        "places": table.places() if table else PLACES.empty_table(),
        "parts": pa.table({"number": np.arange(len(names)), "part": pa.array(names, pa.string())}),
        "predictions": _predictions(workspace, question),
    }
    parameters: dict[str, object] = {
        "decoder": question.decoder,
        "computed_by": question.computed_by,
    }
    with ExitStack() as stack:
        with map_store_errors("read", workspace.uri):  # tables are read when they are joined
            connection = stack.enter_context(database(sources))
            _make(connection, _KNOWN, parameters)
        yield connection


def describe(connection: DuckDBPyConnection, wanted: str) -> None:
    """Make ready to select `DESCRIBED` of the objects whose `position` the query `wanted` gives."""
    _make(connection, {"wanted": wanted, **_DESCRIBED}, {})


def _make(
    connection: DuckDBPyConnection, tables: dict[str, str], parameters: dict[str, object]
) -> None:
    for name, sql in tables.items():
        used = {key: value for key, value in parameters.items() if f"${key}" in sql}
        connection.execute(f"CREATE TEMP TABLE {name} AS {sql}", used)


def known_state(workspace: Folder, manifest: pa.Table, question: Question) -> pa.Table:
    """The manifest's rows, in its order, with what is known of each.

    Further columns: `sha256` (of the object's content, or, where it was never read, of an embedded
    object of equal etag and size), `embedded` bool, `part` and `row` (where the vector lies),
    `given_up` bool, `attempt` int32 (number of the next try), `code` (of the last failure),
    `scored` bool (by this model).
    """
    rows = manifest.select(["uri", "etag", "size"])
    with known(workspace, rows, question) as connection:
        describe(connection, "SELECT position FROM listed")
        found = connection.sql(f"{DESCRIBED} ORDER BY position").to_arrow_table()
    for name in ("sha256", "embedded", "part", "row", "given_up", "attempt", "code", "scored"):
        manifest = manifest.append_column(name, found[name])
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


def _predictions(workspace: Folder, question: Question) -> pads.Dataset:
    if question.model is None:
        return cast(pads.Dataset, pads.dataset(PREDICTIONS.empty_table()))
    return Table(workspace, layout.predictions(question.model), PREDICTIONS).dataset()
