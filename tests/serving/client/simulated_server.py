"""A model server in simulated time: an oracle for what a limit of calls in flight is worth."""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from serving.client.adaptive_limit import Call, Ending

ROWS = 256
REFUSAL_SECONDS = 0.0005


@dataclass(frozen=True)
class Server:
    """Works on `capacity` calls at a time and lets others wait, up to `room` in all."""

    capacity: int
    room: int | None = None
    service_seconds: float = 0.01
    jitter: float = 0.2
    """Service times are spread by up to so much of themselves."""
    deadline_seconds: float = 10**9
    transit_seconds: float = 0.0
    """From the server's last work on a call to the client's next call."""

    def bears(self, calls: int) -> bool:
        """Whether so many at a time are taken."""
        return self.room is None or calls <= self.room


Ended = Callable[[Call], int]
"""Is told of each call, and says how many may be under way from now on."""


def fixed(limit: int) -> Ended:
    return lambda _: limit


def rate(server: Server, ended: Ended, first: int, answers: int = 4000, seed: int = 0) -> float:
    """Calls answered a second, all refused ones sent again."""
    return answers / seconds(server, ended, first, answers, seed)


def seconds(server: Server, ended: Ended, first: int, answers: int, seed: int = 0) -> float:
    chance = random.Random(seed)
    now, limit, in_flight, answered = 0.0, first, 0, 0
    working, waiting = 0, deque[float]()
    events: list[tuple[float, int, float, Ending | None]] = []
    order = itertools.count()

    def work(started: float) -> None:
        spread = chance.uniform(1 - server.jitter, 1 + server.jitter)
        end = now + server.service_seconds * spread
        push(end, started, Ending.ANSWERED)

    def push(at: float, started: float, event: Ending | None) -> None:
        heapq.heappush(events, (at, next(order), started, event))

    while answered < answers:
        while in_flight < limit:
            in_flight += 1
            if not server.bears(working + len(waiting) + 1):
                push(now + REFUSAL_SECONDS, now, Ending.REFUSED)
            elif working < server.capacity:
                working += 1
                work(now)
            else:
                waiting.append(now)
        now, _, started, event = heapq.heappop(events)
        if event is None:  # a refused call has rested
            in_flight -= 1
        elif event is Ending.REFUSED:
            limit = ended(Call(started, now, ROWS, event, in_flight))
            push(now + chance.uniform(0.5, 1) * server.service_seconds, now, None)
        elif event is Ending.LOST:  # an answer on its way
            late = now - started > server.deadline_seconds
            answered += not late
            ending = Ending.LATE if late else Ending.ANSWERED
            limit = ended(Call(started, now, ROWS, ending, in_flight))
            in_flight -= 1
        else:
            working -= 1
            if waiting:
                working += 1
                work(waiting.popleft())
            push(now + server.transit_seconds, started, Ending.LOST)
    return now
