"""What a job has to do of a manifest: counted, and as a stream in the order of the shards."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from duckdb import DuckDBPyConnection

from linnaeus.planning import known_state
from linnaeus.planning.plans import PLAN, STORED_SHARD_OBJECTS, ShardLimits, cut

BATCH_ROWS = 50_000

_COUNTS = """
    SELECT count(*) FILTER (WHERE up_to_date), count(*) FILTER (WHERE NOT up_to_date AND given_up),
        count(*) FILTER (WHERE todo AND NOT embedded),
        (SELECT epoch_us(max(last_failed_at)) FROM failed_before)
    FROM judged
"""

_COLUMNS = ", ".join(f'"{name}"' for name in PLAN.names)


@dataclass(frozen=True)
class Todo:
    """Counts of a manifest's objects; the rest is planned."""

    up_to_date: int
    given_up: int
    new: int
    """Planned objects that have no stored vector."""
    last_failed_at: str
    """Time (ISO 8601) of the last failure of any of them; empty where there is none."""


def judge(
    connection: DuckDBPyConnection,
    job: str,
    only: frozenset[str] | None = None,
    retried_codes: frozenset[str] | None = None,
) -> Todo:
    """Find what is to do for a job, `embed` or `score`, of the objects in a database of `known`.

    Args:
        connection: from `state.known`.
        job: `score` is done with what the model version scored, `embed` with what is embedded.
        only: URIs that it is restricted to; others count as up to date.
        retried_codes: failures that are tried again, however often they were; all that did not fail
            counts as up to date. None: failures are given up after some attempts.
    """
    done = "scored" if job == "score" else "embedded"
    if only is not None:
        connection.register("only_these", pa.table({"uri": pa.array(sorted(only), pa.string())}))
        allowed = "SELECT position FROM listed SEMI JOIN only_these USING (uri)"
        done = f"({done} OR position NOT IN ({allowed}))"
    given_up = "given_up"
    if retried_codes is not None:
        never_first(connection)
        done, given_up = conditions(job, done, retried_codes)
    connection.execute(
        "CREATE TEMP TABLE judged AS SELECT *, NOT (up_to_date OR given_up) AS todo FROM ("
        f"SELECT position, embedded, {given_up} AS given_up, {done} AS up_to_date FROM known)"
    )
    known_state.describe(connection, "SELECT position FROM judged WHERE todo")
    [(up_to_date, given_up, new, failed_usec)] = connection.execute(_COUNTS).fetchall()
    return Todo(up_to_date, given_up, new, _iso(failed_usec))


def _iso(usec: int | None) -> str:
    if usec is None:
        return ""
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=usec)).isoformat()


def shards(connection: DuckDBPyConnection, todo: Todo) -> Iterator[pa.Table]:
    """The rows to do (schema `PLAN`), shard by shard, from a database that `judge` has seen.

    Objects with a stored vector come first, ordered by the part that holds it, so that a shard
    reads few parts; of the others, those of equal etag and size lie together.
    """
    stored = ShardLimits(STORED_SHARD_OBJECTS, shard_bytes=1 << 62)
    yield from cut(_rows(connection, "embedded", "place, uri"), stored)
    new = ShardLimits.for_run(todo.new)
    yield from cut(_rows(connection, "NOT embedded", "etag, size, uri"), new)


def _rows(connection: DuckDBPyConnection, which: str, order: str) -> Iterator[pa.RecordBatch]:
    sql = f"SELECT {_COLUMNS} FROM ({known_state.DESCRIBED}) WHERE {which} ORDER BY {order}"
    for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS):
        yield batch.cast(PLAN)


LATER_ATTEMPT = 2


def conditions(job: str, done: str, codes: frozenset[str]) -> tuple[str, str]:
    """SQL over the table `known`: what a retry leaves alone, and the failures it does not try.

    Args:
        job: of a score each object is labelled or failed. What failed for it and was embedded since
            has no code any more, and is tried.
        done: the condition that an object is done.
        codes: what is tried again, of `FailureCode`.
    """
    again = ", ".join(f"'{code}'" for code in sorted(codes))
    # What was not there when it was listed is found by a listing alone.
    absent = "position IN (SELECT position FROM listed WHERE etag = '')"
    left_alone = done if job == "score" else f"({done} OR code IS NULL)"
    return left_alone, f"(coalesce(code NOT IN ({again}), false) OR {absent})"


def never_first(connection: DuckDBPyConnection) -> None:
    """Number attempts in the table `known` from 2: what failed for another backbone failed."""
    connection.execute(f"UPDATE known SET attempt = greatest(attempt, {LATER_ATTEMPT})")
