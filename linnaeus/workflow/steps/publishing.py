"""publish: a candidate that passed becomes the model's next version, whole or not at all."""

from linnaeus import models
from linnaeus.errors import ConfigurationError
from linnaeus.models import Model
from linnaeus.workflow import candidates
from linnaeus.workflow.context import Context, Outcome, skipped


def publish(context: Context) -> Outcome:
    """Promote the candidate, and wait until the server has it.

    Raises:
        ConfigurationError: the candidate was not evaluated.
        GateFailed: its graph sees the golden images otherwise than a worker; nothing is published.
        ServingError: the server does not load it in time.
    """
    current = context.current_model
    key = context.facts("train").get("candidate")
    if key is None:
        return _nothing(context, current)
    candidate = candidates.at(context.workspace, key)
    if context.facts("evaluate").get("training_run") != candidate.model.run_id:
        raise ConfigurationError(
            "the candidate was trained after the last one was evaluated: run --only evaluate first"
        )
    notes = []
    if context.workflow.gates.skew:
        notes.append(_compared(context, candidate))
    published = candidates.promote(context.workspace, candidate)
    if context.workflow.serving.server:
        notes.append(_wait(context, published))
    earlier = models.versions(context.workspace, published.name)
    replaced = max((one for one in earlier if one < published.version), default=None)
    facts = {"model": published.name, "version": published.version, "replaced": replaced}
    was = f" in place of version {replaced}" if replaced else ""
    return Outcome("; ".join([f"{published.name}:{published.version}{was}", *notes]), facts)


def _nothing(context: Context, current: Model | None) -> Outcome:
    name = context.workflow.model.name
    version = current.version if current else None
    return skipped(f"{name}:{version} stays", model=name, version=version)


def _compared(context: Context, candidate: candidates.Candidate) -> str:
    from linnaeus.workflow.skew import refuse_skew

    payload = context.workflow.serving.payload
    with context.progress.step("Compare golden images", None):
        images = refuse_skew(context.workspace, candidate, payload)
    return f"its graph and a worker agree about {images} golden images"


def _wait(context: Context, published: Model) -> str:
    from linnaeus.workflow.server_rollout import wait_for

    serving = context.workflow.serving
    assert serving.server
    return wait_for(serving.server, published, serving.wait_minutes, context.progress)
