"""Which finished run a person means, by its id or by the model that it made."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from linnaeus import layout, models
from linnaeus.errors import ConfigurationError
from linnaeus.models import Model
from linnaeus.records import Counts
from linnaeus.runs import RunEnding, endings
from linnaeus.storage import Folder

JOBS = ("train", "score")


@dataclass(frozen=True)
class FinishedRun:
    """A run that has a page: its summary, and the model that it made or asked."""

    run_id: str
    job: str
    source: str
    manifest_id: str
    counts: Counts
    model: Model
    home: Folder
    """The workspace, or the folder of a candidate whose training it is."""
    refused: str = ""
    """By which gate, of a run whose labels were refused."""


def find(workspace: Folder, run: str) -> FinishedRun:
    """The training or scoring run of that id, or the training run of model `NAME[:VERSION]`.

    Raises:
        ConfigurationError: there is none, it is not finished, or it is of another job.
    """
    name, _ = models.parse_reference(run)  # nothing else may become part of a key
    if models.versions(workspace, name):
        return _read(workspace, workspace, _training_run(workspace, run))
    for home in chain([workspace], _candidates(workspace)):
        if _exists(home, run):
            return _read(workspace, home, run)
    raise ConfigurationError(
        f"there is no run and no model {run!r} in {workspace.uri}; `linnaeus status` lists them"
    )


def _candidates(workspace: Folder) -> Iterator[Folder]:
    """Models that are not published, or that a gate had taken back; each lies in a workspace."""
    for model in workspace.folders(layout.CANDIDATES):
        for workflow_run in workspace.folders(f"{layout.CANDIDATES}/{model}"):
            yield Folder(workspace.uri_of(f"{layout.CANDIDATES}/{model}/{workflow_run}"))


def _exists(workspace: Folder, run_id: str) -> bool:
    return any(workspace.head(key(run_id)) for key in (layout.summary, layout.plan))


def _training_run(workspace: Folder, reference: str) -> str:
    model = models.load_model(workspace, reference)
    if not (model.run_id and workspace.head(layout.summary(model.run_id))):
        raise ConfigurationError(
            f"the training of {model.name}:{model.version} was ended before it had recorded what "
            "a page shows: train it anew, or name another version"
        )
    return model.run_id


def _read(workspace: Folder, home: Folder, run_id: str) -> FinishedRun:
    summary = endings.read_summary(home, run_id)
    if summary is None:
        raise ConfigurationError(
            f"run {run_id} is not finished: issue its command again, or `linnaeus commit {run_id}`"
        )
    if summary.counts is None:
        raise ConfigurationError(f"run {run_id} was given up unfinished: issue its command again")
    if summary.job not in JOBS:
        raise ConfigurationError(
            f"run {run_id} is of the job {summary.job!r}, of which there is nothing to look at: "
            "name a training or a scoring run, or a model"
        )
    return FinishedRun(
        run_id,
        summary.job,
        summary.source,
        summary.manifest_id,
        summary.counts,
        _model(workspace, home, summary),
        home,
        summary.given_up_because,
    )


def _model(workspace: Folder, home: Folder, summary: RunEnding) -> Model:
    try:
        return models.load_model(
            home, f"{summary.model}:{summary.model_version}", summary.trained_by
        )
    except ConfigurationError:
        kept = (one for one in _candidates(workspace) if models.versions(one, summary.model))
        found = (models.load_model(one, summary.model) for one in kept)
        if model := next((one for one in found if one.identity == summary.trained_by), None):
            return replace(model, version=summary.model_version)
        raise
