"""The end of a process whose work is done."""

import os
import sys


def leave_at_once(status: int) -> None:
    """End the process without taking the interpreter apart.

    Threads of native libraries that are still at work then abort it now and again, after
    everything is done, and those of a run that was broken off would be waited for.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
