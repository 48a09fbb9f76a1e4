"""How a run ended: `summary.json`, created once; committed or given up, whichever came first."""

import json
from dataclasses import asdict
from typing import Any

from linnaeus import documents, layout
from linnaeus.errors import ConfigurationError
from linnaeus.planning import RunSpec, plans
from linnaeus.records import Counts
from linnaeus.storage import Folder

GIVEN_UP = "given_up"
"""The summary's field by which it is known that nobody will commit the run."""

WHY = "given_up_because"
_SILENT = "it showed no sign of life for long"


def end_as_committed(workspace: Folder, run: RunSpec, counts: Counts) -> Counts:
    """Write a run's summary, after its tables were committed; the counts that it has in the end.

    Raises:
        ConfigurationError: the run was given up meanwhile.
    """
    if _write(workspace, run, {"counts": asdict(counts)}):
        return counts
    return counts_of(workspace, run.run_id)


def read_summary(workspace: Folder, run_id: str) -> dict[str, Any]:
    """An ended run's summary; empty of one that has not ended."""
    remedy = "delete it and issue the run's command again"
    return documents.read(workspace, layout.summary(run_id), remedy, _fields) or {}


def _fields(text: bytes) -> dict[str, Any]:
    fields = documents.fields(text)
    return {"job": fields["job"], **fields}


def counts_of(workspace: Folder, run_id: str) -> Counts:
    """What an ended run's summary says.

    Raises:
        ConfigurationError: the run was given up.
    """
    with documents.intact(workspace.uri_of(layout.summary(run_id)), "delete it and run again"):
        return Counts(**refuse_given_up(workspace, run_id)["counts"])


def refuse_given_up(workspace: Folder, run_id: str) -> dict[str, Any]:
    """An ended run's summary, unless it was given up, which is a `ConfigurationError`."""
    summary = read_summary(workspace, run_id)
    if why := _why(summary):
        raise ConfigurationError(f"Run {run_id} was given up: {why}; run its command again")
    return summary


def why_given_up(workspace: Folder, run_id: str) -> str | None:
    """Why an ended run was given up; None where it was committed."""
    return _why(read_summary(workspace, run_id))


def _why(summary: dict[str, Any]) -> str | None:
    return str(summary.get(WHY, _SILENT)) if GIVEN_UP in summary else None


def give_up(
    workspace: Folder, run_id: str, why: str = _SILENT, refused: Counts | None = None
) -> bool:
    """End a run that nobody carries out, so that it is neither joined nor committed any more.

    Or one that was carried out and that a gate `refused`, with these counts.

    Returns:
        Whether it is given up; False if it was committed.
    """
    counts = {"counts": asdict(refused)} if refused else {}
    ending = {GIVEN_UP: True, WHY: why, **counts}
    if _write(workspace, plans.read_spec(workspace, run_id), ending):
        return True
    return why_given_up(workspace, run_id) is not None


def _write(workspace: Folder, run: RunSpec, ending: dict[str, object]) -> bool:
    """False if the run has ended already."""
    description = {k: v for k, v in asdict(run).items() if k != "shard_sizes"}
    summary = {**description, "shards": len(run.shard_sizes), **ending}
    text = json.dumps(summary, indent=1) + "\n"
    return workspace.write_new(layout.summary(run.run_id), text.encode())
