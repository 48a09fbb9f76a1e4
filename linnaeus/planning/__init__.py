"""A manifest held against the tables, and what remains to do, cut into shards.

May import `backbones` and `tables`, and what lies below.
"""

from linnaeus.planning import plans, work_list
from linnaeus.planning.jobs import EmbedJob, Job, ScoreJob, job_named, job_of
from linnaeus.planning.known_state import Question, known, known_objects
from linnaeus.planning.plans import (
    STORED_SHARD_OBJECTS,
    PlannedObject,
    RunPlan,
    RunSpec,
    decoder_of,
    read_spec,
)

__all__ = [
    "STORED_SHARD_OBJECTS",
    "EmbedJob",
    "Job",
    "PlannedObject",
    "Question",
    "RunPlan",
    "RunSpec",
    "ScoreJob",
    "decoder_of",
    "job_named",
    "job_of",
    "known",
    "known_objects",
    "plans",
    "read_spec",
    "work_list",
]
