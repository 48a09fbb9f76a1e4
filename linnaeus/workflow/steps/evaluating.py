"""evaluate: a candidate must be good enough, by itself and beside the current model."""

from typing import Any

from linnaeus.models import Model
from linnaeus.workflow import candidates
from linnaeus.workflow.candidates import Candidate
from linnaeus.workflow.context import Context, Outcome, Refused, skipped
from linnaeus.workflow.file.config import Gates


def evaluate(context: Context) -> Outcome:
    """Hold the candidate against the accuracy gates; nothing is published before.

    Raises:
        Refused: it is not good enough.
    """
    current = context.current_model
    version = current.version if current else None
    key = context.facts("train").get("candidate")
    if key is None:
        return skipped("no new model", current_version=version)
    candidate = candidates.at(context.workspace, key)
    trained = candidate.model.run_id
    if current and current.run_id == trained:
        return skipped(f"{current.name}:{version} is published already", training_run=trained)
    gates = context.workflow.gates
    facts = _facts(context, candidate, current)
    _refuse_inaccurate(gates, facts)
    _refuse_loss(gates, facts)
    _refuse_known_churn(gates, candidate, facts)
    return Outcome(_line(facts), facts)


def _facts(context: Context, candidate: Candidate, current: Model | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "training_run": candidate.model.run_id,
        "accuracy": candidate.model.metrics["test"]["accuracy"],
        "current_version": current.version if current else None,
        "current_accuracy": None,
        "compared_images": 0,
    }
    if current:
        from linnaeus.training.comparison import compare

        with context.progress.step("Compare with the current model", None):
            comparison = compare(context.workspace, candidate.home, candidate.model, current)
        if comparison:
            facts["accuracy_beside"], facts["current_accuracy"] = (
                comparison.accuracy,
                comparison.before,
            )
            facts["compared_images"] = comparison.images
    return facts


def _refuse_inaccurate(gates: Gates, facts: dict[str, Any]) -> None:
    if gates.accuracy_at_least is not None and facts["accuracy"] < gates.accuracy_at_least:
        raise Refused(
            f"the candidate's test accuracy is {facts['accuracy']:.3f}, and accuracy_at_least = "
            f"{gates.accuracy_at_least:g}: it is not published",
            facts,
        )


def _refuse_loss(gates: Gates, facts: dict[str, Any]) -> None:
    if facts["current_accuracy"] is None or gates.accuracy_loss_at_most is None:
        return
    loss = facts["current_accuracy"] - facts["accuracy_beside"]
    if loss > gates.accuracy_loss_at_most + 1e-9:
        raise Refused(
            f"on the same {facts['compared_images']:,} test images the candidate is "
            f"{facts['accuracy_beside']:.3f} accurate and version {facts['current_version']} "
            f"{facts['current_accuracy']:.3f}, a loss of {loss:.3f}, and accuracy_loss_at_most = "
            f"{gates.accuracy_loss_at_most:g}: it is not published",
            facts,
        )


def _refuse_known_churn(gates: Gates, candidate: Candidate, facts: dict[str, Any]) -> None:
    """How many labels it would change was measured when it was refused for that."""
    share = candidates.known_churn(candidate)
    if share is not None and gates.churn_at_most is not None and share > gates.churn_at_most:
        raise Refused(
            f"the candidate would change {share:.1%} of the labels, as an earlier run found, and "
            f"churn_at_most = {gates.churn_at_most:g}: it is not published; raise churn_at_most "
            "for one run if it should be",
            facts,
        )


def _line(facts: dict[str, Any]) -> str:
    alone = f"test accuracy {facts['accuracy']:.3f}"
    if facts["current_accuracy"] is None:
        return alone
    return (
        f"{alone}; on {facts['compared_images']:,} test images that version "
        f"{facts['current_version']} has not seen either {facts['accuracy_beside']:.3f} against "
        f"{facts['current_accuracy']:.3f}"
    )
