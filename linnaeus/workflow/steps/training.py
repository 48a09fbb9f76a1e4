"""train: a candidate, where there is reason to train one."""

from linnaeus.models import Model
from linnaeus.workflow import candidates, retraining
from linnaeus.workflow.candidates import Candidate
from linnaeus.workflow.context import Context, Outcome, skipped
from linnaeus.workflow.retraining import config_of, same_settings


def train(context: Context) -> Outcome:
    """Train a candidate, or take one that an earlier run left, trained on the same images."""
    current, labelled = context.current_model, context.labelled_manifest
    decision = retraining.decide(context.workspace, context.workflow, current, labelled)
    if not decision.train:
        return skipped(decision.why, changed=decision.changed)
    kept = _kept(context, current)
    candidate = kept or _trained(context)
    model = candidate.model
    accuracy = model.metrics["test"]["accuracy"]
    facts = {
        "candidate": candidate.key,
        "labels": list(model.labels),
        "accuracy": accuracy,
        "run_id": model.run_id,
        "changed": decision.changed,
    }
    made = "the candidate of an earlier run still holds" if kept else "trained a candidate"
    return Outcome(f"{made}, test accuracy {accuracy:.3f}: {decision.why}", facts)


def _kept(context: Context, current: Model | None) -> Candidate | None:
    """A candidate of equal images and settings; of this very run where each has its own.

    One of an earlier run that is the current model already would be nothing new.
    """
    name, workflow_run = context.workflow.model.name, context.run.id
    config, manifest = config_of(context.workflow), context.labelled_manifest
    each_run = context.workflow.retrain.when == "always"
    for of_run, one in candidates.listed(context.workspace, name):
        fits = one.model.data["manifest_id"] == manifest.id and same_settings(one.model, config)
        is_current = current is not None and one.model.run_id == current.run_id
        if fits and (of_run == workflow_run or not (each_run or is_current)):
            return one
    return None


def _trained(context: Context) -> Candidate:
    from linnaeus.training.train import train as train_head

    workspace, name = context.workspace, context.workflow.model.name
    candidates.discard(workspace, name)
    home = candidates.home_of(workspace, name, context.run.id)
    config = config_of(context.workflow)
    train_head(
        workspace, context.labelled_manifest, name, config, progress=context.progress, home=home
    )
    return candidates.load(workspace, name, context.run.id)
