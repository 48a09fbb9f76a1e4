"""Whether a new model is to be trained, and why."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from linnaeus import documents, manifests
from linnaeus.errors import ConfigurationError
from linnaeus.manifests import Manifest
from linnaeus.models import Model
from linnaeus.storage import Folder
from linnaeus.training.config import FineTuningConfig, TrainConfig
from linnaeus.workflow import manifest_diff
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.manifest_diff import Differences, images_text

_NOT_COMPARED = ("gate",)
"""Settings that decide what is published, not what is trained."""


@dataclass(frozen=True)
class Decision:
    """Whether to train, and why or why not."""

    train: bool
    why: str
    changed: int = 0
    """Labelled images that came, went or changed since the model was trained."""


def config_of(workflow: Workflow) -> TrainConfig:
    """The training that a workflow configures."""
    layers = workflow.model.fine_tune_layers
    tuning = FineTuningConfig(layers=None if layers == "all" else layers) if layers else None
    return TrainConfig(
        backbone=workflow.backbone.name,
        precision=workflow.backbone.precision,
        head=workflow.model.head,
        sweep=workflow.model.sweep,
        class_weights=workflow.model.class_weights,
        seed=workflow.model.seed,
        fine_tuning=tuning,
    )


def decide(
    workspace: Folder, workflow: Workflow, current: Model | None, labelled: Manifest
) -> Decision:
    """Whether there is reason to train, by the rule of the workflow."""
    rule = workflow.retrain
    if current is None:
        return Decision(True, f"there is no model {workflow.model.name} yet")
    named = f"{current.name}:{current.version}"
    if rule.when == "never":
        return Decision(False, f"{named} stays: retraining is switched off")
    if rule.when == "always":
        return Decision(True, "every workflow run trains a model")
    if not manifest_diff.labelled(workspace, labelled):
        return Decision(False, f"{named} stays: no image of {labelled.source} has a label")
    if not same_settings(current, config_of(workflow)):
        return Decision(True, f"{named} was trained with other settings")
    differences = _differences(workspace, current, labelled)
    changed = differences.all if differences else labelled.objects
    if changed >= rule.changed_at_least:
        what = str(differences) if differences else "they are others"
        return Decision(True, f"labelled images since {named} was trained: {what}", changed)
    if rule.after_days is not None and _age(current) > timedelta(days=rule.after_days):
        return Decision(True, f"{named} is older than {rule.after_days:g} days", changed)
    return Decision(False, f"{named} is up to date: {_few(changed)}", changed)


def same_settings(model: Model, config: TrainConfig) -> bool:
    """Whether a model was trained as it would be now; settings that it does not know are passed."""
    wanted: dict[str, Any] = documents.json_values(asdict(config))
    was: dict[str, Any] = documents.json_values(dict(model.hyperparameters))
    shared = (wanted.keys() & was.keys()).difference(_NOT_COMPARED)
    return all(wanted[name] == was[name] for name in shared)


def _differences(workspace: Folder, current: Model, labelled: Manifest) -> Differences | None:
    """None where the list that the model was trained on is gone."""
    try:
        trained_on = manifests.describe(workspace, current.data["manifest_id"])
    except ConfigurationError:
        return None
    return manifest_diff.of_labels(workspace, trained_on, labelled)


def _age(current: Model) -> timedelta:
    """Of one dated ahead, how far: a clock that was set back keeps no model for ever."""
    return abs(datetime.now(UTC) - datetime.fromisoformat(current.created_at))


def _few(changed: int) -> str:
    if not changed:
        return "no labelled image changed"
    return f"only {images_text(changed)} with labels came, went or changed"
