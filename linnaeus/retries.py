"""The one policy of asking again: waits that grow twofold, each shortened at random by up to half.

So clients of one server do not return to it all at once.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Policy:
    """How often something is tried, and how long the first wait and the longest one may be."""

    tries: int | None = None
    """None: as long as its errors may pass."""
    first_seconds: float = 0.1
    longest_seconds: float = 4.0

    def wait_seconds(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        doubled = self.first_seconds * 2.0 ** min(failures - 1, 30)
        return min(doubled, self.longest_seconds) * random.uniform(0.5, 1.0)


def retry(
    call: Callable[[], T],
    may_pass: Callable[[Exception], bool],
    policy: Policy,
    sleep: Callable[[Exception, float], object] = lambda _, seconds: time.sleep(seconds),
) -> T:
    """Call until it succeeds, fails with an error that will not pass, or was tried often enough.

    Args:
        call: what to try.
        may_pass: whether another try may end otherwise; asked once after each failure.
        policy: how often, and how long to wait between.
        sleep: waits after an error for so many seconds, or less if it knows better.
    """
    for failures in count(1):
        try:
            return call()
        except Exception as error:
            if failures == policy.tries or not may_pass(error):
                raise
            failure = error
        sleep(failure, policy.wait_seconds(failures))
    raise AssertionError
