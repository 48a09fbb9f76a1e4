from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus.planning import RunSpec
from linnaeus.records import Counts
from linnaeus.status import RunProgress
from linnaeus.status.run_progress import (
    WINDOW_RECEIPTS,
    WINDOW_SECONDS,
    is_alive,
    measure,
    recent_rate,
    trouble,
)
from linnaeus.tables import Part
from linnaeus.worker import Arrival, Receipt

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
EMBED = RunSpec("01R", "embed", "/b", "m-1", "f0", planned=30, shard_sizes=(10, 10, 10))


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def arrival(shard: int, seconds: float, counts: Counts) -> Arrival:
    return Arrival(Receipt(shard, counts), Part(f"{shard}", 1, counts.done), at(seconds))


FIRST = arrival(0, 10, Counts(planned=10, done=9, failed=1, embedded=7, bytes_read=500))
SECOND = arrival(1, 20, Counts(planned=10, done=10, embedded=10, bytes_read=600))


def test_receipts_are_summed_and_say_what_is_left():
    seen = measure(EMBED, [SECOND, FIRST], at(0), at(21))
    assert (seen.done, seen.failed, seen.cache_hits, seen.bytes_read) == (19, 1, 2, 1100)
    assert (seen.shards_done, seen.shards, seen.objects) == (2, 3, 30)
    assert (seen.objects_per_second, seen.seconds_left) == (1.0, 10.0)
    assert seen.last_shard_at == at(20)


def test_before_the_first_receipt_no_rate_is_made_up():
    seen = measure(EMBED, [], at(0), at(500))
    assert (seen.finished, seen.objects_per_second, seen.seconds_left) == (0, None, None)


@pytest.mark.parametrize(("payload", "hits"), [("embedding", 2), ("pixels", 0), ("image", 0)])
def test_what_a_server_embeds_is_no_cache_hit(payload: str, hits: int):
    run = replace(EMBED, job="score", payload=payload)
    assert measure(run, [FIRST, SECOND], at(0), at(21)).cache_hits == hits


def test_an_image_that_was_embedded_but_not_labelled_lessens_no_other_shards_hits():
    refused = arrival(1, 20, Counts(planned=10, failed=10, embedded=10))
    run = replace(EMBED, job="score", payload="embedding")
    assert measure(run, [FIRST, refused], at(0), at(21)).cache_hits == 2


steps = st.lists(st.tuples(st.floats(0, 400), st.integers(0, 300)), min_size=1, max_size=60)


def timed(gaps: list[tuple[float, int]]) -> list[tuple[datetime, int]]:
    moments, now = [], 0.0
    for gap, objects in gaps:
        now += gap
        moments.append((at(now), objects))
    return moments


def by_definition(finished: list[tuple[datetime, int]], since: datetime) -> float | None:
    """Go back until two minutes and sixteen receipts are behind, or the launch is reached."""
    after = [(appeared, n) for appeared, n in finished if appeared > since]
    if not after:
        return None
    newest = after[-1][0]
    far = finished[-1 - WINDOW_RECEIPTS][0] if len(finished) > WINDOW_RECEIPTS else since
    begin = min(far, newest - timedelta(seconds=WINDOW_SECONDS))
    counted = [n for appeared, n in after if appeared > begin]
    return sum(counted) / (newest - max(begin, since)).total_seconds() if any(counted) else None


@given(steps, st.floats(-10, 2000))
def test_the_rate_is_that_of_two_minutes_or_sixteen_receipts_since_the_launch(gaps, start):
    finished = timed(gaps)
    expected = by_definition(finished, at(start))
    assert recent_rate(finished, at(start)) == (expected and pytest.approx(expected))


@given(st.integers(1, 80), st.floats(0.1, 1000), st.integers(1, 2000))
def test_a_steady_run_has_its_rate_from_the_first_receipt_on(receipts, gap_seconds, objects):
    finished = [(at(n * gap_seconds), objects) for n in range(1, receipts + 1)]
    rate = recent_rate(finished, since=at(0))
    # A window that begins between two receipts sees one more or less of them.
    slack = 1.01 if receipts <= WINDOW_RECEIPTS else 1 + 2 / WINDOW_RECEIPTS
    assert objects / gap_seconds / slack <= rate <= objects / gap_seconds * slack


@given(steps, st.floats(0, 1e6))
def test_receipts_from_before_the_run_was_joined_are_no_part_of_its_pace(old, rest_seconds):
    joined = timed(old)[-1][0] + timedelta(seconds=rest_seconds)
    after = [(joined + timedelta(seconds=2 * n), 100) for n in (1, 2, 3)]
    assert recent_rate(timed(old), joined) is None
    assert recent_rate(timed(old) + after, joined) == pytest.approx(50)


@given(steps)
def test_a_rate_is_never_above_all_work_in_the_shortest_window_or_below_nothing(gaps):
    finished = timed(gaps)
    rate = recent_rate(finished)
    spanned = (finished[-1][0] - finished[0][0]).total_seconds()
    if rate is None:
        assert spanned == 0 or not any(n for t, n in finished if t > finished[0][0])
    else:
        assert 0 < rate <= sum(n for _, n in finished) / min(spanned, WINDOW_SECONDS) + 1e-9


def test_a_run_that_slows_down_is_seen_to():
    fast = [(at(n), 100) for n in range(1, 101)]
    slow = [(at(100 + 60 * n), 100) for n in range(1, 31)]
    assert recent_rate(fast, at(0)) == pytest.approx(100)
    assert recent_rate(fast + slow, at(0)) == pytest.approx(100 / 60)


def test_shards_that_end_together_are_not_taken_for_a_burst():
    """Sixteen workers, each a shard every hundred seconds."""
    finished = [(at(100 * turn), 250) for turn in range(1, 6) for _ in range(16)]
    assert recent_rate(finished, at(0)) == pytest.approx(16 * 250 / 100, rel=0.7)


RUNNING = measure(EMBED, [FIRST], at(0), at(20))
ALL_DONE = replace(RUNNING, shards_done=3)


@pytest.mark.parametrize(
    ("seen", "heard", "now", "said"),
    [
        (RUNNING, 19, 20, None),
        (RUNNING, None, 250, None),
        (RUNNING, 900, 901, "though its launcher is at work; the workers' logs say why"),
        (RUNNING, 20, 901, "stalled: no shard was finished for 14 min 51 s, and its launcher is"),
        (RUNNING, None, 901, "issue the same command again"),
        (ALL_DONE, 100, 101, None),
        (ALL_DONE, 15, 200, "nobody commits them: `linnaeus commit 01R`"),
        (RunProgress("01R", "embed", objects=5, shards=1), None, 20, None),
    ],
)
def test_a_run_that_does_not_move_is_told_with_the_remedy(seen, heard, now, said):
    told = trouble(seen, None if heard is None else at(heard), at(now))
    assert told is None if said is None else said in (told or "")


def test_where_shards_take_long_patience_is_longer():
    """Ten objects took 100 seconds: ten such shards may pass."""
    slow = measure(EMBED, [replace(FIRST, appeared=at(100))], at(0), at(100))
    assert trouble(slow, at(100), at(1000)) is None
    assert trouble(slow, at(100), at(1200)) is not None


def test_a_launcher_lives_while_it_gives_signs_of_life():
    assert is_alive(at(0), at(30))
    assert not is_alive(at(0), at(300))
    assert not is_alive(None, at(0))
    assert not is_alive(at(300), at(0))  # by a clock that was ahead
