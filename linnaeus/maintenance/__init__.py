"""Tidying up: merging parts and deleting what nothing names.

May import `runs`, and what lies below.
"""

from linnaeus.maintenance.after_run import after_run, compact_all, forget
from linnaeus.maintenance.compaction import Compaction
from linnaeus.maintenance.vacuum import Retention, Swept, Vacuum, vacuum

__all__ = [
    "Compaction",
    "Retention",
    "Swept",
    "Vacuum",
    "after_run",
    "compact_all",
    "forget",
    "vacuum",
]
