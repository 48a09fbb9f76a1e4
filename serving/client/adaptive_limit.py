"""How many calls to have under way at a model server, learnt from how they end.

Pure: no clock, no thread, no gRPC. What a call met is told to `AdaptiveLimit.ended`.

The limit doubles each round trip at first, and grows by steps once calls begin to queue at the
server: of n calls under way that take t seconds a row, and t0 where nothing waits, n (1 - t0 / t)
are waiting. Some may wait, or the server would idle between two calls; more gain nothing.

A refusal halves it. How many calls the server held when it refused is then known, so the limit
returns there within a round trip and stays, trying one more now and then: a plain sawtooth would
cost a quarter of what the server can do. There, single refusals are the price of a server that is
never idle, since some calls are always on the way: their share decides on one call more or less,
and it halves again only where twice as many are refused as may be under way, and few answered.
"""

import math
from dataclasses import dataclass
from enum import Enum, auto

FIRST_LIMIT = 1
FEWEST_CALLS_JUDGED = 4
FEW_REFUSED, MANY_REFUSED = 0.25, 0.45
"""Shares of calls: below the first, one more may be tried; above the second, there is one less."""
ENDINGS_JUDGED = 32
SHORTEST_HOLD, LONGEST_HOLD = 8, 128
"""Round trips at a known ceiling before one more call is tried."""
BASE_ROUND_TRIPS = 256
"""How long a latency without queueing counts; then it is measured anew."""


class Ending(Enum):
    """What became of a call."""

    ANSWERED = auto()
    """Whatever the answer was: the server had time for the call."""
    REFUSED = auto()
    """The server had no room for it."""
    LATE = auto()
    """Its deadline passed."""
    LOST = auto()
    """The server went away, which says nothing of how much it can do."""


@dataclass(frozen=True)
class Call:
    """A call that ended; times in seconds on one clock."""

    started: float
    ended: float
    rows: int
    ending: Ending
    in_flight: int
    """Calls under way just before it ended, this one among them."""


@dataclass
class _RoundTrip:
    """Calls that were answered since the limit was last judged."""

    calls: int = 0
    refused: int = 0
    rows: int = 0
    seconds: float = 0.0
    in_flight: int = 0
    most_in_flight: int = 0

    def add(self, call: Call) -> None:
        self.calls += 1
        self.rows += call.rows
        self.seconds += call.ended - call.started
        self.in_flight += call.in_flight
        self.most_in_flight = max(self.most_in_flight, call.in_flight)

    @property
    def row_seconds(self) -> float:
        """Of latency: calls with few rows count for little."""
        return self.seconds / max(self.rows, 1)


@dataclass
class _Endings:
    """Calls that ended since the limit changed."""

    answered: int = 0
    refused: int = 0

    @property
    def refused_share(self) -> float:
        return self.refused / max(self.refused + self.answered, 1)

    @property
    def many_are_refused(self) -> bool:
        enough = self.refused + self.answered >= ENDINGS_JUDGED
        return enough and self.refused_share > MANY_REFUSED


class AdaptiveLimit:
    """The limit of one client, from 1 to `most`; not safe for threads by itself."""

    def __init__(self, most: int) -> None:
        self.limit = min(FIRST_LIMIT, most)
        self._most = most
        self._doubling = True
        self._ceiling = most
        self._hold = self._longest_hold = SHORTEST_HOLD
        self._recover_to = 0
        self._reduced_at = self._moved_at = -math.inf
        self._round_trips = 0
        self._base_row_seconds = math.inf
        self._base_age = 0
        self._looking_down = False
        self._round_trip = _RoundTrip()
        self._here = _Endings()

    def ended(self, call: Call) -> None:
        """Learn from a call."""
        match call.ending:
            case Ending.ANSWERED:
                self._answered(call)
            case Ending.REFUSED:
                self._refused(call)
            case Ending.LATE if call.started >= self._reduced_at:
                self._halve(call, ceiling=self.limit // 2)

    def _refused(self, call: Call) -> None:
        if call.started < self._reduced_at:
            # Sent together with the one that was refused first: the server held one less yet.
            self._lower_ceiling(self._ceiling - 1)
            return
        if call.started >= self._moved_at:
            self._round_trip.refused += 1
            self._here.refused += 1
        if self._ceiling == self._most or self._round_trip.refused > 2 * self.limit:
            self._halve(call, ceiling=min(call.in_flight, self.limit) - 1)

    def _halve(self, call: Call, ceiling: int) -> None:
        self._hold_longer()
        self._reduced_at = call.ended
        self._doubling = self._looking_down = False
        self._move(self.limit // 2, call.ended)
        self._ceiling = self._most
        self._lower_ceiling(ceiling)

    def _hold_longer(self) -> None:
        self._longest_hold = min(2 * self._longest_hold, LONGEST_HOLD)
        self._hold = self._longest_hold

    def _lower_ceiling(self, ceiling: int) -> None:
        self._ceiling = self._recover_to = max(ceiling, self.limit)

    def _move(self, limit: int, now: float) -> None:
        self.limit = min(max(limit, 1), self._most)
        self._moved_at = now
        self._round_trips = 0
        self._round_trip, self._here = _RoundTrip(), _Endings()

    def _answered(self, call: Call) -> None:
        if self.limit < self._recover_to and not self._looking_down:
            self._move(self.limit + 1, call.ended)
        elif call.started >= self._moved_at:  # what began before says nothing of this limit
            self._round_trip.add(call)
            self._here.answered += 1
            if self._round_trip.calls >= max(self.limit, FEWEST_CALLS_JUDGED):
                self._judge(self._round_trip, call.ended)

    def _judge(self, seen: _RoundTrip, now: float) -> None:
        self._round_trip = _RoundTrip()
        self._round_trips += 1
        self._base_age += 1
        self._base_row_seconds = min(self._base_row_seconds, seen.row_seconds)
        if self._looking_down:
            self._looking_down = False
        elif self._base_age > BASE_ROUND_TRIPS:
            self._look_down(now)
        else:
            self._step(seen, now)

    def _look_down(self, now: float) -> None:
        """Measure the latency without queueing anew, by a round trip at a quarter of the limit."""
        self._recover_to = self.limit
        self._base_row_seconds, self._base_age = math.inf, 0
        self._looking_down = True
        self._move(self.limit // 4, now)

    def _step(self, seen: _RoundTrip, now: float) -> None:
        in_flight = seen.in_flight / seen.calls
        waiting = in_flight * (1 - self._base_row_seconds / max(seen.row_seconds, 1e-12))
        self._doubling &= waiting < in_flight / 4
        if self._here.many_are_refused:
            self._hold_longer()
            self._move(self.limit - 1, now)
            self._ceiling = self._recover_to = self.limit
        elif waiting > 4 + in_flight / 2:
            self._recover_to = 0
            self._move(self.limit - max(1, self.limit // 8), now)
        elif waiting < 2 + in_flight / 3 and seen.most_in_flight >= self.limit:
            self._grow(now)

    @property
    def _bears_more(self) -> bool:
        return self._here.refused_share < FEW_REFUSED

    def _grow(self, now: float) -> None:
        step = self.limit if self._doubling else max(1, self.limit // 8)
        if self.limit < self._ceiling:
            self._move(min(self.limit + step, self._ceiling), now)
        elif self._round_trips >= self._hold and self.limit < self._most and self._bears_more:
            if self._hold == 1:  # the last one more was not refused, either
                self._longest_hold = max(self._longest_hold // 2, SHORTEST_HOLD)
            self._hold = 1
            self._ceiling += 1
            self._move(self._ceiling, now)
