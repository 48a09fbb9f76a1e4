"""Candidates: trained models that nobody sees before they have passed every gate.

Each lies in a folder that is laid out as a workspace, `candidates/<model>/<workflow run>/`,
so whatever reads a published model reads a candidate.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from linnaeus import layout, models
from linnaeus.documents import Document
from linnaeus.models import Model
from linnaeus.storage import Folder

_CHURN = "churn.json"


@dataclass(frozen=True)
class _KnownChurn(Document):
    """What a candidate would change."""

    churn: float


@dataclass(frozen=True)
class Candidate:
    """A trained model and where it lies."""

    key: str
    """Of its folder in the workspace."""
    home: Folder
    model: Model
    """Its version counts for its folder only."""


def home_of(workspace: Folder, name: str, workflow_run: str) -> Folder:
    """Where the candidate of a workflow run goes."""
    return Folder(workspace.uri_of(_key(name, workflow_run)))


def load(workspace: Folder, name: str, workflow_run: str) -> Candidate:
    """The candidate of a workflow run.

    Raises:
        ConfigurationError: there is none.
    """
    return at(workspace, _key(name, workflow_run))


def at(workspace: Folder, key: str) -> Candidate:
    """The candidate in a folder of the workspace.

    Raises:
        ConfigurationError: there is none.
    """
    home = Folder(workspace.uri_of(key))
    return Candidate(key, home, models.load_model(home, key.split("/")[1]))


def listed(workspace: Folder, name: str) -> Iterator[tuple[str, Candidate]]:
    """All candidates of a model by their workflow runs, the newest run first."""
    for workflow_run in sorted(workspace.folders(f"{layout.CANDIDATES}/{name}"), reverse=True):
        home = home_of(workspace, name, workflow_run)
        if models.versions(home, name):
            yield workflow_run, load(workspace, name, workflow_run)


def promote(workspace: Folder, candidate: Candidate) -> Model:
    """Publish a candidate as its model's next version; again gives the version that it has.

    Raises:
        StorageError: the workspace cannot be read or written.
    """
    from linnaeus.training.exporting.publication import publishing

    published = _published(workspace, candidate.model)
    if published is None:
        with publishing(workspace, candidate.model.name) as draft:
            candidate.home.download(candidate.model.prefix, draft.folder)
            published = replace(candidate.model, version=draft.version)
            (draft.folder / models.DESCRIPTION).write_text(published.to_json(), "utf-8")
    _keep_run(workspace, candidate, published)
    return published


def _published(workspace: Folder, model: Model) -> Model | None:
    newest = models.find_newest(workspace, model.name)
    return newest if newest and newest.run_id == model.run_id else None


def _keep_run(workspace: Folder, candidate: Candidate, published: Model) -> None:
    """What the training left, from which its report is made."""
    from linnaeus.training import training_run

    key = layout.held_out_predictions(published.run_id)
    workspace.write_new(key, candidate.home.read(key))
    training_run.write_summary(workspace, published)


def of_version(workspace: Folder, name: str, version: int) -> Candidate | None:
    """The candidate that became a version, if it is still kept."""
    published = models.load_model(workspace, f"{name}:{version}")
    listed_candidates = (one for _, one in listed(workspace, name))
    return next((one for one in listed_candidates if one.model.run_id == published.run_id), None)


def note_churn(workspace: Folder, candidate: Candidate, counts: Mapping[str, Any]) -> None:
    """Keep what a candidate would change, so that it need not be measured in every run."""
    if counts.get("compared"):
        share = counts["changed"] / counts["compared"]
        workspace.write(f"{candidate.key}/{_CHURN}", _KnownChurn(share).to_json().encode())


def known_churn(candidate: Candidate) -> float | None:
    """The share of labels that a candidate would change, where an earlier run measured it."""
    known = _KnownChurn.read_if_sound(candidate.home, _CHURN)
    return known.churn if known else None


def withdraw(workspace: Folder, name: str, version: int) -> None:
    """Take a version back, so that the one before it is the newest again, here and on servers.

    While the version is there, whoever was killed half-way finds it and does it again.
    """
    from linnaeus.training.exporting import publication

    published = models.load_model(workspace, f"{name}:{version}")
    workspace.delete(layout.summary(published.run_id))  # it may be published again
    publication.withdraw(workspace, name, version)


def discard(workspace: Folder, name: str) -> None:
    """Delete all candidates of a model: a newer one is about to be trained."""
    for entry in list(workspace.list(f"{layout.CANDIDATES}/{name}")):
        workspace.delete(entry.key)


def _key(name: str, workflow_run: str) -> str:
    return f"{layout.CANDIDATES}/{name}/{workflow_run}"
