"""How a run ended: `summary.json`, created once; committed or given up, whichever came first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from linnaeus import layout
from linnaeus.documents import Document
from linnaeus.errors import ConfigurationError, DamagedFile
from linnaeus.planning import RunSpec, plans
from linnaeus.records import Counts
from linnaeus.storage import Folder

_SILENT = "it showed no sign of life for long"


@dataclass(frozen=True)
class RunEnding(Document, remedy="delete it and issue the run's command again", indent=1):
    """What an ended run's `summary.json` says."""

    run_id: str
    job: str
    """`embed`, `score` or `train`."""
    source: str
    manifest_id: str
    fingerprint: str = ""
    model: str = ""
    model_version: int = 0
    """Of a training, the one that it made."""
    payload: str = ""
    planned: int = 0
    skipped: int = 0
    known_failures: int = 0
    shards: int = 0
    trained_by: str = ""
    counts: Counts | None = None
    """None of a run that was given up unfinished."""
    given_up_because: str = ""
    """Why nobody will commit the run; nothing of one that is committed."""
    test: Mapping[str, Any] = field(default_factory=dict)
    """How good a training's model is."""
    finished_at: str = ""
    """Of a training: ISO 8601, UTC."""


def end_as_committed(workspace: Folder, run: RunSpec, counts: Counts) -> Counts:
    """Write a run's summary, after its tables were committed; the counts that it has in the end.

    Raises:
        ConfigurationError: the run was given up meanwhile.
    """
    if _write(workspace, run, counts=counts):
        return counts
    return counts_of(workspace, run.run_id)


def read_summary(workspace: Folder, run_id: str) -> RunEnding | None:
    """How a run ended; None where it has not."""
    return RunEnding.read_or_none(workspace, layout.summary(run_id))


def counts_of(workspace: Folder, run_id: str) -> Counts:
    """What an ended run's summary says.

    Raises:
        ConfigurationError: the run was given up.
    """
    ending = require_committed(workspace, run_id)
    if ending.counts is None:
        uri = workspace.uri_of(layout.summary(run_id))
        raise DamagedFile(f"{uri} has no counts of what was done: delete it and run again")
    return ending.counts


def require_committed(workspace: Folder, run_id: str) -> RunEnding:
    """How a run ended; `ConfigurationError` where it has not, or was given up."""
    ending = read_summary(workspace, run_id)
    if ending is None:
        raise ConfigurationError(f"Run {run_id} is not finished: issue its command again")
    if why := ending.given_up_because:
        raise ConfigurationError(f"Run {run_id} was given up: {why}; run its command again")
    return ending


def why_given_up(workspace: Folder, run_id: str) -> str:
    """Why an ended run was given up; nothing where it was committed."""
    ending = read_summary(workspace, run_id)
    return ending.given_up_because if ending else ""


def give_up(
    workspace: Folder, run_id: str, why: str = _SILENT, refused: Counts | None = None
) -> bool:
    """End a run that nobody carries out, so that it is neither joined nor committed any more.

    Or one that was carried out and that a gate `refused`, with these counts.

    Returns:
        Whether it is given up; False if it was committed.
    """
    if _write(workspace, plans.read_spec(workspace, run_id), counts=refused, given_up_because=why):
        return True
    return bool(why_given_up(workspace, run_id))


def _write(workspace: Folder, run: RunSpec, **ending: Any) -> bool:
    """False if the run has ended already."""
    shared = RunEnding.__dataclass_fields__.keys() & vars(run)
    described = {name: getattr(run, name) for name in shared}
    summary = RunEnding(**described, shards=len(run.shard_sizes), **ending)
    return workspace.write_new(layout.summary(run.run_id), summary.to_json().encode())
