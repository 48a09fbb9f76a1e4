"""A run from its opening to its commit or other end.

May import `preparation`, `worker` and `labels`, and what lies below.
"""

from linnaeus.runs import endings
from linnaeus.runs.commit import commit, tables_of
from linnaeus.runs.endings import RunEnding, give_up
from linnaeus.runs.job import Gate, Job
from linnaeus.runs.opening import claimed, create_run, is_over, make_plan, open_run

__all__ = [
    "Gate",
    "Job",
    "RunEnding",
    "claimed",
    "commit",
    "create_run",
    "endings",
    "give_up",
    "is_over",
    "make_plan",
    "open_run",
    "tables_of",
]
