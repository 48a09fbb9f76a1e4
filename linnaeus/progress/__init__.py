"""How a job tells a person, or a machine, how far it is.

Imports only single modules of the ground floor.
"""

from linnaeus.progress.meter import Figures, Meter
from linnaeus.progress.protocols import Progress, Step
from linnaeus.progress.steps import SILENT, for_stream
from linnaeus.progress.wording import (
    bytes_text,
    count_text,
    duration_text,
    names_text,
    settings_text,
)

__all__ = [
    "SILENT",
    "Figures",
    "Meter",
    "Progress",
    "Step",
    "bytes_text",
    "count_text",
    "duration_text",
    "for_stream",
    "names_text",
    "settings_text",
]
