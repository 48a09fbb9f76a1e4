"""How far a run is, by the receipts that have appeared: the same on each runner, for each observer.

Nothing here reads or writes. Times are those that the store gave its objects, so that receipts of
many workers and the launcher's sign of life are told by one clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from linnaeus.documents import Document
from linnaeus.planning import RunSpec, job_of
from linnaeus.progress import Figures, duration_text
from linnaeus.records import Counts
from linnaeus.worker import Arrival

WINDOW_SECONDS = 120.0
WINDOW_RECEIPTS = 16
"""The rate is that of the last two minutes, or of the last receipts where these reach further."""

STALLED_SECONDS = 300.0
SILENT_SECONDS = 60.0
"""A launcher that lives writes its progress several times as often."""


class RunState(StrEnum):
    """What an observer knows of a run's end."""

    RUNNING = "running"
    COMMITTED = "committed"
    HANDED_OVER = "handed over"
    """Its launcher left it to a runner, whose job commits it."""
    STOPPED = "stopped"
    """Its launcher ended without a commit; the same command goes on."""


@dataclass(frozen=True)
class RunProgress(Document):
    """How far a run is; `progress.json` in its folder has these fields."""

    run_id: str
    job: str
    state: RunState = RunState.RUNNING
    objects: int = 0
    """Planned."""
    done: int = 0
    failed: int = 0
    cache_hits: int = 0
    """Done without computing a vector."""
    bytes_read: int = 0
    shards: int = 0
    shards_done: int = 0
    objects_per_second: float | None = None
    """Lately; None where too little was finished to tell."""
    seconds_left: float | None = None
    started_at: datetime | None = None
    """When the newest launcher took the run up."""
    last_shard_at: datetime | None = None
    updated_at: datetime | None = None
    error: str | None = None
    """Why it stopped."""

    @property
    def finished(self) -> int:
        """Objects of which the outcome is known."""
        return self.done + self.failed

    @property
    def figures(self) -> Figures:
        """For a step's display."""
        return Figures(self.objects_per_second, self.seconds_left, self.bytes_read, self.cache_hits)


def measure(
    run: RunSpec, arrivals: Sequence[Arrival], since: datetime | None, now: datetime
) -> RunProgress:
    """How far a run is.

    Args:
        run: its description.
        arrivals: its receipts so far, in any order.
        since: when its newest launcher began, if that is known. What was finished before says
            nothing of its pace.
        now: the time that is noted.
    """
    times = sorted((a.appeared, a.receipt.counts.planned) for a in arrivals)
    rate = recent_rate(times, since)
    progress = replace(
        of_counts(run, [arrival.receipt.counts for arrival in arrivals]),
        shards_done=len(arrivals),
        objects_per_second=rate,
        started_at=since,
        last_shard_at=times[-1][0] if times else None,
        updated_at=now,
    )
    left = progress.objects - progress.finished
    return replace(progress, seconds_left=left / rate if rate and left else None)


def of_counts(run: RunSpec, counts: Sequence[Counts]) -> RunProgress:
    """The sums, without anything about time."""
    computed = job_of(run).computes_vectors
    return RunProgress(
        run_id=run.run_id,
        job=run.job,
        objects=run.planned,
        done=sum(c.done for c in counts),
        failed=sum(c.failed for c in counts),
        cache_hits=sum(max(0, c.done - c.embedded) for c in counts) if computed else 0,
        bytes_read=sum(c.bytes_read for c in counts),
        shards=len(run.shard_sizes),
    )


def committed(run: RunSpec, counts: Counts) -> RunProgress:
    """A run that is at its end."""
    return replace(
        of_counts(run, [counts]), state=RunState.COMMITTED, shards_done=len(run.shard_sizes)
    )


def recent_rate(
    finished: Sequence[tuple[datetime, int]], since: datetime | None = None
) -> float | None:
    """Objects a second over the last receipts, None where these span no time.

    Args:
        finished: when each receipt appeared and of how many objects it is, oldest first.
        since: nothing before counts. Without it the first receipt begins the time.
    """
    if not finished:
        return None
    newest, first = finished[-1][0], since or finished[0][0]
    reach = finished[-WINDOW_RECEIPTS - 1][0] if len(finished) > WINDOW_RECEIPTS else first
    begin = max(first, min(reach, newest - timedelta(seconds=WINDOW_SECONDS)))
    seconds = (newest - begin).total_seconds()
    objects = sum(count for appeared, count in finished if appeared > begin)
    return objects / seconds if seconds > 0 and objects else None


def trouble(progress: RunProgress, heard_at: datetime | None, now: datetime) -> str | None:
    """What is wrong with a run that goes on, and the remedy, in one line; None if nothing is.

    Args:
        progress: how far it is.
        heard_at: when its launcher last gave a sign of life.
        now: by about the same clock.
    """
    alive = is_alive(heard_at, now)
    handed_over = progress.state is RunState.HANDED_OVER
    moved_at = max((t for t in (progress.last_shard_at, progress.started_at) if t), default=now)
    quiet_seconds = (now - moved_at).total_seconds()
    if progress.shards_done == progress.shards and not handed_over:
        unheard = not alive and quiet_seconds > SILENT_SECONDS
        remedy = f"`linnaeus commit {progress.run_id}` makes its results visible"
        return f"all shards are done, and nobody commits them: {remedy}" if unheard else None
    if quiet_seconds <= _patience_seconds(progress):
        return None
    stall = f"no shard was finished for {duration_text(quiet_seconds)}"
    if handed_over:
        return f"{stall}; the runner's page of its job says why"
    if alive:
        return f"stalled: {stall}, though its launcher is at work; the workers' logs say why"
    return f"stalled: {stall}, and its launcher is silent; issue the same command again"


def is_alive(heard_at: datetime | None, now: datetime) -> bool:
    """Whether a launcher that was last heard of then is at work; from far ahead, a clock spoke."""
    return heard_at is not None and abs((now - heard_at).total_seconds()) <= SILENT_SECONDS


def _patience_seconds(progress: RunProgress) -> float:
    """As long as ten shards take, where they take long."""
    rate = progress.objects_per_second
    shard_seconds = progress.objects / progress.shards / rate if rate and progress.shards else 0.0
    return max(STALLED_SECONDS, 10 * shard_seconds)
