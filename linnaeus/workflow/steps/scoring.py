"""score: every image gets a label of the current model, if the gates let the labels through."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from linnaeus import models
from linnaeus.errors import ConfigurationError, GateFailed, LinnaeusError
from linnaeus.labels import LabelsTable
from linnaeus.progress import count_text
from linnaeus.records import Counts
from linnaeus.runs import Gate
from linnaeus.workflow import candidates, gates
from linnaeus.workflow.context import Context, Outcome
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.manifest_diff import images_text


def score(context: Context) -> Outcome:
    """Label what the current version has not labelled.

    Raises:
        GateFailed: too many labels would change or images failed, or the server sees otherwise than
            a worker; the labels stay as they were, and a version of this run is taken back.
    """
    version = model_version(context)
    try:
        facts = _scored(context, version)
    except GateFailed as refusal:
        _take_back(context, version, refusal)
        raise
    if facts["run_id"] is None:
        named = f"{context.workflow.model.name}:{version}"
        line = f"the labels are up to date: all images labelled by {named}"
        return Outcome(line, facts, "skipped")
    return Outcome(_line(facts), facts)


def model_version(context: Context) -> int:
    """The version that gives the labels: the one that is published, in this run or before.

    Raises:
        ConfigurationError: the run has not come to it, or it was taken back since.
    """
    version: int = context.facts("publish")["version"]
    name = context.workflow.model.name
    if version not in models.versions(context.workspace, name):
        raise ConfigurationError(
            f"{name}:{version} is not there any more, such as one that a gate had taken back: run "
            "the run's steps again from train"
        )
    return version


def _scored(context: Context, version: int) -> dict[str, Any]:
    from beam_pipelines.score import ScoreRequest, refuse_unfit, score_listed

    workflow, manifest = context.workflow, context.manifest
    request = ScoreRequest(
        manifest.source,
        f"{workflow.model.name}:{version}",
        workflow.serving.server,
        workflow.serving.payload,
        workflow.output.location,
        workflow.output.format,
        skew_gate=workflow.gates.skew,
        beam_options=workflow.beam.options,
    )
    refuse_unfit(context.workspace, request, context.progress)
    gate = _gate(workflow, version, context.run.refused.get("score", {}))
    run = score_listed(context.workspace, manifest, request, context.progress, gate)
    facts = {"run_id": run.run_id, "model_version": version, **asdict(run.counts)}
    return facts | {"working_seconds": round(run.working_seconds, 3)}


def _gate(workflow: Workflow, version: int, refused: Mapping[str, Any]) -> Gate:
    def look(run_id: str, counts: Counts) -> None:
        if refused.get("model_version") == version:
            counts = gates.with_refused(counts, refused)
        facts = {"run_id": None, "refused_run": run_id, "model_version": version, **asdict(counts)}
        gates.refuse_failures(workflow.gates, run_id, counts, facts)
        gates.refuse_churn(workflow.gates, run_id, counts, facts)

    return look


def _take_back(context: Context, version: int, refusal: GateFailed) -> None:
    """Make the version before a refused one the newest again; its candidate stays, and knows why.

    Only what a workflow run published and no label is of is taken back.
    """
    name = context.workflow.model.name
    try:
        stays = _replaced(context, version)
        candidate = candidates.of_version(context.workspace, name, version)
        if stays is None or candidate is None:
            return
        candidates.note_churn(context.workspace, candidate, getattr(refusal, "facts", {}))
        candidates.withdraw(context.workspace, name, version)
    except LinnaeusError as error:
        refusal.args = (f"{refusal}; and {name}:{version} could not be taken back: {error}",)
        return
    refusal.args = (f"{refusal}; {name}:{version} is taken back, version {stays} stays",)


def _replaced(context: Context, version: int) -> int | None:
    """The version before one that has given no labels yet, not of any source."""
    name = context.workflow.model.name
    earlier = [one for one in models.versions(context.workspace, name) if one < version]
    model = models.load_model(context.workspace, f"{name}:{version}")
    if not earlier or LabelsTable(context.workspace, name).are_of(model.identity):
        return None
    return earlier[-1]


def _line(facts: Mapping[str, Any]) -> str:
    words = [f"{images_text(facts['done'])} labelled"]
    if facts["failed"]:
        words.append(f"{facts['failed']:,} failed ({facts['new_failures']:,} new)")
    words.append(f"{facts['skipped']:,} up to date")
    if facts["compared"]:
        words.append(f"{facts['changed']:,} of {count_text(facts['compared'], 'labels')} changed")
    return ", ".join(words)
