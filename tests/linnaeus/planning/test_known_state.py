"""What is known and what is to do, held against a plain loop over the tables' rows."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus import layout
from linnaeus.errors import FailureCode
from linnaeus.planning import EmbedJob, Question, ScoreJob, known, work_list
from linnaeus.planning.known_state import MAX_ATTEMPTS, known_state
from linnaeus.records import EMBEDDINGS, FAILURES, MANIFEST, OBJECTS, PREDICTIONS
from linnaeus.storage import Folder
from linnaeus.tables import Table, parts

FINGERPRINT, DECODER = "f00", "decoder 2"
EMBED = Question(FINGERPRINT, DECODER, FINGERPRINT)
SCORE = Question("m:1", DECODER, FINGERPRINT, "m")
EMBED_JOB = EmbedJob(FINGERPRINT)
SCORE_JOB = ScoreJob(FINGERPRINT, "m", 1, "embedding")

names, etags, digests = (st.sampled_from(list(letters)) for letters in ("abcd", "xyz", "012"))
listed = st.dictionaries(names, st.tuples(etags, st.integers(1, 2)), max_size=4)
objects = st.lists(st.tuples(names, etags, st.integers(1, 2), digests), max_size=5)
embeddings = st.lists(st.lists(digests, max_size=3), max_size=2)
failures = st.lists(
    st.tuples(
        names,
        etags,
        st.sampled_from(["read", "score"]),
        st.sampled_from(["CORRUPT", "TIMEOUT"]),
        st.integers(1, MAX_ATTEMPTS),
        st.sampled_from([FINGERPRINT, "m:1", "m:2"]),
        st.sampled_from([DECODER, "decoder 1"]),
    ),
    max_size=4,
)
predictions = st.lists(st.tuples(names, etags, st.sampled_from(["m:1", "m:2"])), max_size=4)


def fill(workspace, key, schema, columns, rows, run_id="R", shard=0):
    """Add rows to a table as a run would, one part."""
    padded = [{**dict.fromkeys(schema.names), **dict(zip(columns, r, strict=True))} for r in rows]
    table = pa.Table.from_pylist(padded, schema=schema)
    part = parts.write(workspace, layout.shard_part(key, run_id, shard), table)
    Table(workspace, key, schema).append([part] if rows else [], run_id)


def fill_all(workspace, tables):
    known_before, stored, failed, said = tables
    # An object of one version has one content: the first row decides.
    first = {}
    known_before = [(u, e, s, first.setdefault((u, e), d)) for u, e, s, d in known_before]
    fill(workspace, layout.OBJECTS, OBJECTS, ["uri", "etag", "size", "sha256"], known_before)
    for number, part in enumerate(stored):
        rows = [(digest, [0.0]) for digest in part]
        key = layout.embeddings(FINGERPRINT)
        fill(workspace, key, EMBEDDINGS, ["sha256", "embedding"], rows, f"R{number}", number)
    columns = ["uri", "etag", "stage", "code", "attempt", "computed_by", "decoder", "failed_at"]
    failed = [(*row, datetime.fromtimestamp(i, UTC)) for i, row in enumerate(failed)]
    fill(workspace, layout.FAILURES, FAILURES, columns, failed)
    columns = ["uri", "etag", "trained_by"]
    fill(workspace, layout.predictions("m"), PREDICTIONS, columns, said)
    return known_before, failed


def manifest(listed):
    rows = [
        {**dict.fromkeys(MANIFEST.names), "source": "s", "uri": uri, "etag": etag, "size": size}
        for uri, (etag, size) in sorted(listed.items())
    ]
    return pa.Table.from_pylist(rows, schema=MANIFEST)


def expected(row, question, known_before, stored, failed, said):
    """What is known of one object, by looking at every row of every table."""
    uri, etag, size = row["uri"], row["etag"], row["size"]
    places = {}
    for number, part in enumerate(stored):
        for position, digest in enumerate(part):
            name = layout.shard_part("", f"R{number}", number).lstrip("/")
            places.setdefault(digest, (name, position))
    own = {d for u, e, _, d in known_before if (u, e) == (uri, etag)}
    same = {d for _, e, s, d in known_before if (e, s) == (etag, size) and d in places}
    embedded = bool(own & set(places))
    of_object = [
        f
        for f in failed
        if f[:2] == (uri, etag)
        and (f[5] == question.computed_by if f[2] == "score" else not embedded)
    ]
    attempts = max((f[4] for f in of_object if f[5] == question.computed_by), default=0)
    hopeless = any(FailureCode(f[3]).permanent and f[6] == DECODER for f in of_object)
    return {
        "embedded": embedded,
        "given_up": hopeless or attempts >= MAX_ATTEMPTS,
        "attempt": attempts + 1,
        "code": of_object[-1][3] if of_object else None,
        "scored": question.model is not None and (uri, etag, "m:1") in said,
    }, (own or same, places)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    listed, st.tuples(objects, embeddings, failures, predictions), st.sampled_from([EMBED, SCORE])
)
def test_what_is_known_is_what_the_rows_say(listed, tables, question):
    with TemporaryDirectory() as folder:
        workspace, rows = Folder(folder), manifest(listed)
        known_before, failed = fill_all(workspace, tables)
        state = known_state(workspace, rows, question).to_pylist()
        assert [row["uri"] for row in state] == sorted(listed)
        todo_rows = rows_to_do(workspace, rows, question)
        for row in state:
            facts, (contents, places) = expected(
                row, question, known_before, tables[1], failed, tables[3]
            )
            assert {name: row[name] for name in facts} == facts
            assert row["sha256"] in (contents or {None})
            assert (row["part"], row["row"]) == places.get(row["sha256"], (None, None))
            done = facts["scored" if question is SCORE else "embedded"]
            assert (row["uri"] in todo_rows) == (not done and not facts["given_up"])
            if planned := todo_rows.get(row["uri"]):
                described = ("etag", "size", "attempt", "embedded")
                assert {n: planned[n] for n in described} == {n: row[n] for n in described}
                assert planned["sha256"] in (contents or {None})
                assert (planned["part"], planned["row"]) == places.get(
                    planned["sha256"], (None, None)
                )


def rows_to_do(workspace, rows, question, only=None):
    """The planned rows by URI, from the manifest's file, checked against the counts."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "it's.parquet"
        pq.write_table(rows, path)
        with known(workspace, path, question) as connection:
            job = SCORE_JOB if question is SCORE else replace(EMBED_JOB, only=only)
            found = work_list.select_pending(connection, job)
            planned = [row for s in work_list.shards(connection, found) for row in s.to_pylist()]
    assert len(planned) + found.up_to_date + found.given_up == rows.num_rows
    assert sum(not row["embedded"] for row in planned) == found.new
    return {row["uri"]: row for row in planned}


def test_a_job_can_be_restricted_to_some_objects(workspace):
    rows = manifest(dict.fromkeys("abcd", ("x", 1)))
    only = frozenset(["b", "d", "elsewhere"])
    assert set(rows_to_do(workspace, rows, EMBED, only)) == {"b", "d"}
    assert rows_to_do(workspace, rows, EMBED, frozenset()) == {}


def test_equal_contents_lie_in_one_shard_whatever_their_names(workspace, tmp_path):
    rows = manifest({f"{i:04d}": ("same" if i % 100 == 0 else f"e{i}", 1) for i in range(2000)})
    pq.write_table(rows, tmp_path / "m.parquet")
    with known(workspace, tmp_path / "m.parquet", EMBED) as connection:
        shards = list(work_list.shards(connection, work_list.select_pending(connection, EMBED_JOB)))
    having = [i for i, shard in enumerate(shards) if "same" in shard["etag"].to_pylist()]
    assert len(having) == 1
    assert sum(shard.num_rows for shard in shards) == 2000
    assert len(shards) > 1


def test_stored_vectors_are_asked_for_part_by_part(workspace):
    key = layout.embeddings(FINGERPRINT)
    for number, part in enumerate(["31", "02"]):
        rows = [(digest, [0.0]) for digest in part]
        fill(workspace, key, EMBEDDINGS, ["sha256", "embedding"], rows, f"R{number}", number)
    columns = ["uri", "etag", "size", "sha256"]
    fill(workspace, layout.OBJECTS, OBJECTS, columns, [(f"u{d}", "e", 1, d) for d in "0123"])
    rows = manifest({f"u{digest}": ("e", 1) for digest in "0123"})
    planned = rows_to_do(workspace, rows, SCORE)
    assert list(planned) == ["u3", "u1", "u0", "u2"]
    assert [(row["part"][:2], row["row"]) for row in planned.values()] == [
        ("R0", 0),
        ("R0", 1),
        ("R1", 0),
        ("R1", 1),
    ]
