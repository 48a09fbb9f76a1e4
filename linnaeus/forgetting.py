"""Forgetting a source whose images are gone for good: nothing of it is current any more.

What is known of its contents stays, embeddings, predictions and failures, so a source that comes
back is listed and labelled again without anything being computed.
"""

from dataclasses import dataclass
from difflib import get_close_matches

from linnaeus import layout, manifests
from linnaeus.errors import ConfigurationError
from linnaeus.labels import LabelsTable
from linnaeus.locations import normalise
from linnaeus.storage import Folder

SHOWN = 5


@dataclass(frozen=True)
class Forgotten:
    """What was forgotten."""

    source: str
    labels: dict[str, int]
    """Current labels that went, by model; models that had none are left out."""


def forget(workspace: Folder, source: str) -> Forgotten:
    """Take a source's rows out of all tables of labels, and make an empty list its newest.

    Again, it takes away what a command that was broken off left.

    Raises:
        ConfigurationError: it was never listed; the message names those that are most alike.
        StorageError: the workspace cannot be read or written.
    """
    known = manifests.sources(workspace)
    named = source if source in known else normalise(source)
    if named not in known:
        near = get_close_matches(named, known, SHOWN, cutoff=0.0)
        there = f"it has {', '.join(near)}" if near else "it has none yet"
        raise ConfigurationError(f"{workspace.uri} knows no source {named}: {there}")
    manifest = manifests.freeze_nothing(workspace, named)
    models = workspace.folders(layout.labels("").rstrip("/"))
    gone = {model: LabelsTable(workspace, model).forget(manifest) for model in models}
    return Forgotten(named, {model: count for model, count in gone.items() if count})
