"""What a job has to do of a manifest: counted, and as a stream in the order of the shards."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from duckdb import DuckDBPyConnection

from linnaeus.planning import known_state
from linnaeus.planning.jobs import Job
from linnaeus.planning.plans import PLAN, STORED_SHARD_OBJECTS, ShardLimits, cut

BATCH_ROWS = 50_000

_COUNTS = """
    SELECT count(*) FILTER (WHERE up_to_date), count(*) FILTER (WHERE NOT up_to_date AND given_up),
        count(*) FILTER (WHERE todo AND NOT embedded),
        (SELECT epoch_us(max(last_failed_at)) FROM failed_before)
    FROM selected
"""

_COLUMNS = ", ".join(f'"{name}"' for name in PLAN.names)


@dataclass(frozen=True)
class PendingWork:
    """Counts of a manifest's objects; the rest is planned."""

    up_to_date: int
    given_up: int
    new: int
    """Planned objects that have no stored vector."""
    last_failed_at: str
    """Time (ISO 8601) of the last failure of any of them; empty where there is none."""


def select_pending(connection: DuckDBPyConnection, job: Job) -> PendingWork:
    """Find what is to do for a job of the objects in a database of `known_state.known`.

    Objects that the job is not restricted to count as up to date, and in a retry all that did not
    fail. Else failures are given up after some attempts.
    """
    done = job.done_column
    if job.only is not None:
        only = pa.array(sorted(job.only), pa.string())
        connection.register("only_these", pa.table({"uri": only}))
        allowed = "SELECT position FROM listed SEMI JOIN only_these USING (uri)"
        done = f"({done} OR position NOT IN ({allowed}))"
    given_up = "given_up"
    if job.retried_codes is not None:
        _never_first(connection)
        done, given_up = job.left_alone(done), _not_retried(job.retried_codes)
    connection.execute(
        "CREATE TEMP TABLE selected AS SELECT *, NOT (up_to_date OR given_up) AS todo FROM ("
        f"SELECT position, embedded, {given_up} AS given_up, {done} AS up_to_date FROM known)"
    )
    known_state.describe(connection, "SELECT position FROM selected WHERE todo")
    [(up_to_date, given_up, new, failed_usec)] = connection.execute(_COUNTS).fetchall()
    return PendingWork(up_to_date, given_up, new, _iso(failed_usec))


def _iso(usec: int | None) -> str:
    if usec is None:
        return ""
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=usec)).isoformat()


def shards(connection: DuckDBPyConnection, pending: PendingWork) -> Iterator[pa.Table]:
    """The rows to do (schema `PLAN`), shard by shard, from a database of `select_pending`.

    Objects with a stored vector come first, ordered by the part that holds it, so that a shard
    reads few parts; of the others, those of equal etag and size lie together.
    """
    stored = ShardLimits(STORED_SHARD_OBJECTS, shard_bytes=1 << 62)
    yield from cut(_rows(connection, "embedded", "place, uri"), stored)
    new = ShardLimits.for_run(pending.new)
    yield from cut(_rows(connection, "NOT embedded", "etag, size, uri"), new)


def _rows(connection: DuckDBPyConnection, which: str, order: str) -> Iterator[pa.RecordBatch]:
    sql = f"SELECT {_COLUMNS} FROM ({known_state.DESCRIBED}) WHERE {which} ORDER BY {order}"
    for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS):
        yield batch.cast(PLAN)


LATER_ATTEMPT = 2


def _not_retried(codes: frozenset[str]) -> str:
    """SQL over the table `known`: the failures that a retry of these codes does not try."""
    again = ", ".join(f"'{code}'" for code in sorted(codes))
    # What was not there when it was listed is found by a listing alone.
    absent = "position IN (SELECT position FROM listed WHERE etag = '')"
    return f"(coalesce(code NOT IN ({again}), false) OR {absent})"


def _never_first(connection: DuckDBPyConnection) -> None:
    """Number attempts in the table `known` from 2: what failed for another backbone failed."""
    connection.execute(f"UPDATE known SET attempt = greatest(attempt, {LATER_ATTEMPT})")
