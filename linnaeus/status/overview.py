"""What a workspace holds: tables, models, runs."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from linnaeus import layout, models
from linnaeus.documents import Document
from linnaeus.errors import ConfigurationError, DamagedFile
from linnaeus.planning import plans
from linnaeus.progress import duration_text
from linnaeus.records import Counts
from linnaeus.runs import RunEnding, endings
from linnaeus.status.observer import unfinished
from linnaeus.status.run_progress import is_alive
from linnaeus.storage import Entry, Folder, is_local
from linnaeus.tables import tables_in
from linnaeus.worker import receipts_listed

NEWEST_RUNS = 10
NEWEST_WORKFLOW_RUNS = 3
"""Of each workflow."""
_SUMMARY = ".summary.json"


@dataclass(frozen=True)
class _Counts:
    embedded: int = 0
    labelled: int = 0
    failed: int = 0


@dataclass(frozen=True)
class _RunSummary(Document):
    """As much of a workflow run's summary as is shown."""

    status: str
    headline: str = ""
    counts: _Counts = _Counts()

    def row(self) -> dict[str, Any]:
        row = {"status": self.status, **asdict(self.counts)}
        return row if self.status == "done" else {**row, "why": self.headline}


def overview(workspace: Folder) -> dict[str, Any]:
    """Rows of each table, versions of each model, the newest runs and workflow runs.

    Raises:
        ConfigurationError: If there is no such workspace.
    """
    require(workspace)
    found = {
        "workspace": workspace.uri,
        "tables": _tables(workspace),
        "models": _models(workspace),
        "runs": _runs(workspace),
    }
    workflow_runs = _workflow_runs(workspace)
    return {**found, "workflow_runs": workflow_runs} if workflow_runs else found


def require(workspace: Folder) -> None:
    """Raise `ConfigurationError` if there is no such workspace."""
    if not _exists(workspace):
        raise ConfigurationError(
            f"there is no workspace {workspace.uri}: check the name; "
            "the first command that writes makes one"
        )


def _exists(workspace: Folder) -> bool:
    """Whether the folder exists; in an object store, where folders do not, anything in it."""
    if is_local(workspace.uri):
        return Path(workspace.uri).is_dir()
    return next(workspace.list(), None) is not None


def _tables(workspace: Folder) -> dict[str, int]:
    """Rows by table, from the log alone; equal content that was embedded twice counts twice."""
    loaded = ((table.key, table.load()) for table in tables_in(workspace))
    return {key: snapshot.count() for key, snapshot in loaded if snapshot is not None}


def _models(workspace: Folder) -> list[dict[str, Any]]:
    described = []
    for name in models.names(workspace):
        for version in models.versions(workspace, name):
            model = models.load_model(workspace, f"{name}:{version}")
            test = model.metrics.get("test") or {}
            described.append(
                {
                    "model": f"{name}:{version}",
                    "labels": len(model.labels),
                    "backbone": model.backbone.name,
                    "test accuracy": test.get("accuracy"),
                }
            )
    return described


def _runs(workspace: Folder) -> list[dict[str, Any]]:
    """The newest runs, and all that are not finished, however old."""
    ids = sorted(filter(layout.RUN_ID.fullmatch, workspace.folders(layout.RUNS)), reverse=True)
    under_way = set(unfinished(workspace))
    described: list[dict[str, Any]] = []
    for run_id in ids:
        if run_id in under_way:
            described.append(_unfinished(workspace, run_id))
        elif len(described) < NEWEST_RUNS:
            described += _ended(workspace, run_id)
    return described


def _ended(workspace: Folder, run_id: str) -> list[dict[str, Any]]:
    """Nothing where a command was ended before the run was its own, or lost the race for it."""
    try:
        ended = endings.read_summary(workspace, run_id)
        return [{"run": run_id, "job": ended.job, **_ending(ended)}] if ended else []
    except DamagedFile:
        return [{"run": run_id, "state": "damaged"}]


def _ending(ended: RunEnding) -> dict[str, Any]:
    if ended.given_up_because:
        return {"state": "given up"}
    return {"state": "committed", **_result(ended)}


def _unfinished(workspace: Folder, run_id: str) -> dict[str, Any]:
    """How far it is, by a listing of its receipts alone; `linnaeus status RUN` reads them."""
    run = plans.read_spec(workspace, run_id)
    finished = sum(run.shard_sizes[number] for number in receipts_listed(workspace, run))
    heard = workspace.head(layout.progress(run_id))
    alive = is_alive(heard.modified if heard else None, datetime.now(UTC))
    return {
        "run": run_id,
        "job": run.job,
        "state": "unfinished",
        "finished": finished,
        "of": run.planned,
        "launcher": "at work" if alive else _silence(heard),
    }


def _silence(heard: Entry | None) -> str:
    if heard is None:
        return "never heard of"
    seconds = (datetime.now(UTC) - heard.modified).total_seconds()
    return f"silent for {duration_text(seconds)}" if seconds > 0 else "heard of in the future"


def _workflow_runs(workspace: Folder) -> list[dict[str, Any]]:
    """The newest workflow runs of each workflow, as their summaries have them."""
    described: list[dict[str, Any]] = []
    for workflow in sorted(workspace.folders(layout.WORKFLOW_RUNS)):
        # By their time, since a scheduler or a person chooses ids as they like.
        folder = f"{layout.WORKFLOW_RUNS}/{workflow}"
        entries, _ = workspace.page(folder)
        kept = sorted((one.modified, one.key) for one in entries if one.key.endswith(_SUMMARY))
        newest = [key.rpartition("/")[2] for _, key in reversed(kept)]
        for name in newest[:NEWEST_WORKFLOW_RUNS]:
            summary = _RunSummary.read_if_sound(workspace, f"{folder}/{name}")
            run = {"workflow": workflow, "workflow_run": name.removesuffix(_SUMMARY)}
            described += [{**run, **summary.row()}] if summary else []
    return described


def _result(ended: RunEnding) -> dict[str, Any]:
    if ended.job == "train":
        model = f"{ended.model}:{ended.model_version}"
        return {"model": model, "test accuracy": ended.test.get("accuracy")}
    counts = ended.counts or Counts()
    return {"done": counts.done, "failed": counts.failed}
