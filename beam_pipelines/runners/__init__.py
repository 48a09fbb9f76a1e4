"""Runners of Beam: what each is asked and given, and how a run is handed to one.

May import `model_servers`, `pipeline` when a run is handed over, and `linnaeus` up to `jobs`.
`job_servers` and `resource_options` import Beam, so this face only names them.
"""

from beam_pipelines.runners import downloaded
from beam_pipelines.runners.execution import OnBeam, program
from beam_pipelines.runners.options import (
    all_options,
    check_beam_options,
    launcher_leaves,
    runner_name,
)

__all__ = [
    "OnBeam",
    "all_options",
    "check_beam_options",
    "downloaded",
    "job_servers",
    "launcher_leaves",
    "program",
    "resource_options",
    "runner_name",
]
