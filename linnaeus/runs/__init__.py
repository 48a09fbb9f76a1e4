"""A run from its opening to its commit or other end.

May import `preparation`, `worker` and `labels`, and what lies below.
"""

from linnaeus.runs import endings
from linnaeus.runs.commit import Gate, commit, tables_of
from linnaeus.runs.endings import RunEnding, give_up
from linnaeus.runs.opening import (
    claimed,
    create_run,
    is_over,
    make_plan,
    open_run,
    scoring_by,
)

__all__ = [
    "Gate",
    "RunEnding",
    "claimed",
    "commit",
    "create_run",
    "endings",
    "give_up",
    "is_over",
    "make_plan",
    "open_run",
    "scoring_by",
    "tables_of",
]
