"""Which finished run a person means, by its id or by the model that it made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from linnaeus import layout, models
from linnaeus.errors import ConfigurationError
from linnaeus.models import Model
from linnaeus.run_endings import GIVEN_UP
from linnaeus.storage import Folder

JOBS = ("train", "score")


@dataclass(frozen=True)
class FinishedRun:
    """A run that has a page: its summary, and the model that it made or asked."""

    run_id: str
    job: str
    source: str
    manifest_id: str
    counts: Mapping[str, Any]
    model: Model


def find(workspace: Folder, run: str) -> FinishedRun:
    """The training or scoring run of that id, or the training run of model `NAME[:VERSION]`.

    Raises:
        ConfigurationError: there is none, it is not finished, or it is of another job.
    """
    models.parse_reference(run)  # nothing else may become part of a key
    if _exists(workspace, run):
        return _read(workspace, run)
    if _is_model(workspace, run):
        return _read(workspace, _training_run(workspace, run))
    raise ConfigurationError(
        f"there is no run and no model {run!r} in {workspace.uri}; `linnaeus status` lists them"
    )


def _exists(workspace: Folder, run_id: str) -> bool:
    return any(workspace.head(key(run_id)) for key in (layout.summary, layout.plan))


def _is_model(workspace: Folder, reference: str) -> bool:
    name, _ = models.parse_reference(reference)
    return bool(models.versions(workspace, name))


def _training_run(workspace: Folder, reference: str) -> str:
    model = models.load_model(workspace, reference)
    if not model.run_id:
        raise ConfigurationError(
            f"model {model.name}:{model.version} does not say which run made it: train it anew, "
            "or name a scoring run"
        )
    if workspace.head(layout.summary(model.run_id)) is None:
        raise ConfigurationError(
            f"the training of {model.name}:{model.version} was ended before it had recorded what "
            "a page shows: train it anew, or name another version"
        )
    return model.run_id


def _read(workspace: Folder, run_id: str) -> FinishedRun:
    if workspace.head(layout.summary(run_id)) is None:
        raise ConfigurationError(
            f"run {run_id} is not finished: issue its command again, or `linnaeus commit {run_id}`"
        )
    summary = json.loads(workspace.read(layout.summary(run_id)))
    if GIVEN_UP in summary:
        raise ConfigurationError(f"run {run_id} was given up unfinished: issue its command again")
    if summary["job"] not in JOBS:
        raise ConfigurationError(
            f"run {run_id} is of the job {summary['job']!r}, of which there is nothing to look at: "
            "name a training or a scoring run, or a model"
        )
    reference = f"{summary['model']}:{summary['model_version']}"
    model = models.load_model(workspace, reference)
    if summary.get("trained_by") not in (None, "", model.identity):
        raise ConfigurationError(
            f"run {run_id} is of a model {reference} that is gone; another one has its name now"
        )
    return FinishedRun(
        run_id,
        summary["job"],
        summary["source"],
        summary["manifest_id"],
        summary["counts"],
        model,
    )
