"""What a workspace holds: tables, models, runs."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

from linnaeus import layout, models, plans
from linnaeus.errors import ConfigurationError
from linnaeus.run_endings import GIVEN_UP
from linnaeus.storage import Folder, is_local
from linnaeus.workspace_tables import tables_in

NEWEST_RUNS = 10


def overview(workspace: Folder) -> dict[str, Any]:
    """Rows of each table, versions of each model, and the newest runs.

    Raises:
        ConfigurationError: If there is no such workspace.
    """
    require(workspace)
    return {
        "workspace": workspace.uri,
        "tables": _tables(workspace),
        "models": _models(workspace),
        "runs": _runs(workspace),
    }


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
    ids = sorted((name for name in workspace.folders(layout.RUNS) if name[0] != "."), reverse=True)
    described = (_run(workspace, run_id) for run_id in ids)
    return list(islice((run for run in described if run), NEWEST_RUNS))


def _run(workspace: Folder, run_id: str) -> dict[str, Any] | None:
    if workspace.head(layout.summary(run_id)):
        summary = json.loads(workspace.read(layout.summary(run_id)))
        if GIVEN_UP in summary:
            return {"run": run_id, "job": summary["job"], "state": "given up"}
        return {"run": run_id, "job": summary["job"], "state": "committed", **_result(summary)}
    if workspace.head(layout.plan(run_id)) is None:
        return None  # it lost the race to be the run of its command
    return {"run": run_id, "job": plans.read_spec(workspace, run_id).job, "state": "unfinished"}


def _result(summary: dict[str, Any]) -> dict[str, Any]:
    if summary["job"] == "train":
        model = f"{summary['model']}:{summary['model_version']}"
        return {"model": model, "test accuracy": summary["test"]["accuracy"]}
    counts = summary["counts"]
    return {"done": counts["done"], "failed": counts["failed"]}
