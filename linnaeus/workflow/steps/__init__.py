"""The steps of a workflow, a module each: functions from a run under way to an outcome.

May import every other room of `workflow`, and what lies below it.
"""

__all__ = [
    "embedding",
    "evaluating",
    "listing",
    "planning",
    "publishing",
    "reporting",
    "scoring",
    "training",
]
