"""Sends a summary somewhere, for so long at most: no receiver can hold a run up.

Also what senders share: what is said of a receiver that gives no answer, and silence about it.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Thread

from linnaeus.workflow.summary.summary import Summary

Send = Callable[[str, Summary], str]
"""Sends a summary to an address; what to say of it."""
LONGEST_SECONDS = 60.0
"""Of all attempts. A receiver that answers a byte at a time never runs into a socket's limit."""


class TookTooLong(Exception):  # noqa: N818 - what is the case
    """Nobody waits any longer."""


def sent(send: Send, to: str, summary: Summary) -> str:
    """What the sender says.

    Raises:
        TookTooLong: it is left behind.
        Exception: whatever it raises.
    """
    ended: SimpleQueue[str | Exception] = SimpleQueue()

    def run() -> None:
        try:
            ended.put(send(to, summary))
        except Exception as error:
            ended.put(error)

    Thread(target=run, name="sending", daemon=True).start()
    try:
        came = ended.get(timeout=LONGEST_SECONDS)
    except Empty:
        raise TookTooLong(f"not done within {LONGEST_SECONDS:g} s") from None
    if isinstance(came, Exception):
        raise came
    return came


@contextmanager
def unlogged(library: str) -> Iterator[None]:
    """Have a library say nothing of what it sends, since its lines name the whole URL."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def unreached(error: BaseException, seconds: float) -> str:
    """Why nobody answered: by what it came from in the end, below what libraries made of it."""
    causes = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    known = next((one.strerror for one in causes if isinstance(one, OSError) and one.strerror), "")
    if not known and any(isinstance(one, TimeoutError) for one in causes):
        return f"no answer within {seconds:g} s"
    return f"cannot be reached: {known or type(causes[-1]).__name__}"
