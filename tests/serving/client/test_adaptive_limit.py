"""The limit against a simulated server, whose best fixed limit is found by trying."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.client.adaptive_limit import AdaptiveLimit, Call, Ending
from tests.serving.client.simulated_server import Server, fixed, rate

MOST = 64
servers = st.builds(
    Server,
    capacity=st.integers(1, 24),
    room=st.none() | st.integers(1, 32),
    service_seconds=st.sampled_from([0.001, 0.01, 1.0]),
    jitter=st.floats(0, 0.8),
    transit_seconds=st.sampled_from([0.0, 0.003]),
)


class Watched:
    """A limit that remembers what it was."""

    def __init__(self, most: int = MOST) -> None:
        self.adaptive = AdaptiveLimit(most)
        self.limits: list[int] = []
        self.endings: list[Ending] = []

    def __call__(self, call: Call) -> int:
        self.adaptive.ended(call)
        self.limits.append(self.adaptive.limit)
        self.endings.append(call.ending)
        return self.adaptive.limit


def best_fixed_rate(server: Server) -> float:
    """Of limits that the client may have, and that do not make the server refuse about half."""
    room = server.room or MOST
    limits = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, room, 3 * room // 2}
    most = min(3 * room // 2, MOST)
    return max(rate(server, fixed(n), n, answers=1000) for n in limits if n <= most)


@given(servers, st.integers(0, 99))
@example(Server(capacity=23, service_seconds=0.001, transit_seconds=0.003), 0)
@settings(max_examples=25, deadline=None)
def test_it_comes_within_a_twentieth_of_the_best_fixed_limit(server: Server, seed: int):
    assert rate(server, Watched(), 1, 16_000, seed) >= 0.95 * best_fixed_rate(server)


@given(servers)
@settings(max_examples=25, deadline=None)
def test_it_stays_between_one_and_the_most(server: Server):
    watched = Watched(most=9)
    rate(server, watched, 1, 1000)
    assert 1 <= min(watched.limits) <= max(watched.limits) <= 9


def test_less_than_half_is_refused_once_the_servers_room_is_known():
    watched = Watched()
    rate(Server(capacity=6, room=6), watched, 1, 4000)
    later = watched.endings[2000:]
    assert later.count(Ending.REFUSED) < len(later) / 2


def test_it_halves_once_for_all_calls_that_were_sent_before_it_did():
    limit = AdaptiveLimit(MOST)
    raise_to(limit, 16)
    for number in range(10):
        limit.ended(Call(1000.0, 1001.0 + number / 100, 9, Ending.REFUSED, 16 - number))
    assert limit.limit == 8


def test_once_the_servers_room_is_known_it_halves_only_for_many_refusals():
    limit = AdaptiveLimit(MOST)
    raise_to(limit, 16)
    limit.ended(Call(1000.0, 1001.0, 9, Ending.REFUSED, 16))
    for number in range(16):
        limit.ended(Call(1003.0, 1004.0 + number / 100, 9, Ending.REFUSED, 8))
        assert limit.limit == 8
    limit.ended(Call(1003.0, 1005.0, 9, Ending.REFUSED, 8))
    assert limit.limit == 4


def test_a_missed_deadline_halves_it_too_and_a_lost_connection_does_not():
    limit = AdaptiveLimit(MOST)
    raise_to(limit, 16)
    limit.ended(Call(1000.0, 1001.0, 9, Ending.LOST, 16))
    assert limit.limit == 16
    limit.ended(Call(1000.0, 1001.0, 9, Ending.LATE, 16))
    assert limit.limit == 8


def raise_to(limit: AdaptiveLimit, wanted: int) -> None:
    """By calls one after the other that all take a second, until time 1000 at the latest."""
    for second in range(1000):
        if limit.limit < wanted:
            limit.ended(Call(second, second + 1, 9, Ending.ANSWERED, limit.limit))
    assert limit.limit == wanted


def test_it_does_not_grow_while_its_slots_are_not_all_used():
    limit = AdaptiveLimit(MOST)
    raise_to(limit, 4)
    for second in range(1000, 2000):
        limit.ended(Call(second, second + 1, 9, Ending.ANSWERED, 2))
    assert limit.limit == 4


def test_a_server_that_slows_down_when_crowded_is_not_crowded():
    watched = Watched()
    rate(Server(capacity=4), watched, 1, 8000)
    assert max(watched.limits) < 24


def test_it_finds_a_server_again_that_has_more_room_than_before():
    watched = Watched()
    rate(Server(capacity=20, room=3), watched, 1, 2000)
    assert watched.adaptive.limit <= 4
    rate(Server(capacity=20, room=20), watched, watched.adaptive.limit, 8000)
    assert max(watched.limits[-1000:]) >= 18


def test_deadlines_that_a_long_queue_misses_shorten_the_queue():
    server = Server(capacity=2, deadline_seconds=0.05)
    watched = Watched()
    assert rate(server, watched, 1, 4000) >= 0.9 * rate(server, fixed(4), 4)
    assert watched.endings[2000:].count(Ending.LATE) < 200


def test_small_last_batches_do_not_pass_for_a_fast_server():
    limit = AdaptiveLimit(MOST)
    raise_to(limit, 8)
    for number in range(1000, 1400):
        share = 0.1 if number % 4 == 0 else 1.0
        rows = int(256 * share)
        limit.ended(Call(number, number + 0.1 + share, rows, Ending.ANSWERED, limit.limit))
    assert limit.limit > 8
