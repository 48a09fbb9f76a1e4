"""On what was measured: processors, versions, and how busy the machine was."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from linnaeus.process import processors

LIBRARIES = ("linnaeus", "openvino", "tensorflow", "keras", "apache-beam", "pillow", "numpy")


def facts() -> dict[str, Any]:
    """The machine now."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "processors": processors(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
