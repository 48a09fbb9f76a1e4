"""Carrying a job out: whole, in slices of a frozen run, or again.

May import `status`, `maintenance` and `report`, and what lies below.
"""

from linnaeus.jobs import frozen_runs, retry, slices
from linnaeus.jobs.commit import commit_plan, commit_run
from linnaeus.jobs.execution import InThisProcess, RunSummary, run_job, submit_job
from linnaeus.jobs.frozen_runs import FrozenRun
from linnaeus.jobs.slices import Slice, SliceSummary

__all__ = [
    "FrozenRun",
    "InThisProcess",
    "RunSummary",
    "Slice",
    "SliceSummary",
    "commit_plan",
    "commit_run",
    "frozen_runs",
    "retry",
    "run_job",
    "slices",
    "submit_job",
]
