"""How far a run is, and what became of it.

May import `runs`, and what lies below.
"""

from linnaeus.status import details, observer
from linnaeus.status.details import RunDetails
from linnaeus.status.observer import RunStatus
from linnaeus.status.overview import overview, require
from linnaeus.status.reporter import reported, tell_committed, tell_handed_over, write_seconds
from linnaeus.status.run_progress import RunProgress, RunState

__all__ = [
    "RunDetails",
    "RunProgress",
    "RunState",
    "RunStatus",
    "details",
    "observer",
    "overview",
    "reported",
    "require",
    "tell_committed",
    "tell_handed_over",
    "write_seconds",
]
