"""What a Flink cluster says of itself over REST.

https://nightlies.apache.org/flink/flink-docs-stable/docs/ops/rest_api/
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

from beam_pipelines.preflight.submission import Address

ANSWER_SECONDS = 5.0
SEGMENT_BYTES = 32 << 10
"""Flink's default of `taskmanager.memory.segment-size`."""


@dataclass(frozen=True)
class TaskManager:
    """One of the cluster's machines."""

    slots: int
    network_buffers: int
    """Segments of its network memory, all of them."""


@dataclass(frozen=True)
class FlinkCluster:
    """A session cluster."""

    version: str
    task_managers: tuple[TaskManager, ...]

    @property
    def slots(self) -> int:
        """All of them, free or taken."""
        return sum(one.slots for one in self.task_managers)


def look_at(address: Address) -> tuple[FlinkCluster | None, str]:
    """The cluster behind an address, or None and why it cannot be read."""
    try:
        version = _get(address, "config")["flink-version"]
        listed = _get(address, "taskmanagers")["taskmanagers"]
        managers = tuple(_task_manager(_get(address, f"taskmanagers/{m['id']}")) for m in listed)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"{type(error).__name__}: {error}"
    return FlinkCluster(version, managers), ""


def _task_manager(said: dict[str, Any]) -> TaskManager:
    """Its metrics are zeros until somebody has asked for them, so its memory stands in for them."""
    counted = said["metrics"]["nettyShuffleMemorySegmentsTotal"]
    configured = said["memoryConfiguration"]["networkMemory"] // SEGMENT_BYTES
    return TaskManager(said["slotsNumber"], counted or configured)


def _get(address: Address, path: str) -> dict[str, Any]:
    with urlopen(f"http://{address}/{path}", timeout=ANSWER_SECONDS) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
