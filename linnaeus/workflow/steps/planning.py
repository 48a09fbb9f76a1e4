"""plan: hold the lists against the tables, and say what the run will take."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from linnaeus import models, preparation, runs
from linnaeus.backbones import BackboneSpec
from linnaeus.documents import json_values
from linnaeus.errors import ConfigurationError
from linnaeus.manifests import Manifest, sampler
from linnaeus.planning import EmbedJob
from linnaeus.progress import SILENT, Progress, bytes_text
from linnaeus.storage import Folder
from linnaeus.workflow import retraining
from linnaeus.workflow.context import Context, Outcome, skipped
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.forecast.forecast import Forecast, Lists, forecast
from linnaeus.workflow.manifest_diff import images_text
from linnaeus.workflow.steps.listing import freeze_lists, last_labelled


def plan(context: Context) -> Outcome:
    """Count what is to be embedded, of both lists."""
    refuse_leaving(context.workflow.beam.options)
    spec = prepare(context)
    facts = _planned(context, spec, context.manifest)
    if context.labelled_manifest.id != context.manifest.id:
        more = _planned(context, spec, context.labelled_manifest)
        for name in ("to_embed", "to_read_bytes", "shards", "unfinished"):
            facts[name] += more[name]
    facts["fingerprint"] = spec.fingerprint
    labelled = last_labelled(context.workspace, context.workflow, context.manifest)
    if facts["to_embed"] or context.manifest != labelled:
        lists = Lists(context.manifest, context.labelled_manifest)
        expected = expect(context.workspace, context.workflow, lists, context.progress)
        context.run = replace(context.run, forecast=json_values(asdict(expected)))
    if not facts["to_embed"] and not facts["unfinished"]:
        return skipped(f"nothing to embed, {facts['up_to_date']:,} up to date", **facts)
    return Outcome(_line(facts), facts)


def refuse_leaving(options: Sequence[str]) -> None:
    """Refuse Beam options by which a job goes on behind its launcher's back: gates need its end.

    Raises:
        ConfigurationError: there are such options.
    """
    if not options:
        return
    from beam_pipelines.runners import check_beam_options, launcher_leaves

    check_beam_options(options)
    if launcher_leaves(options):
        raise ConfigurationError(
            "[beam] options: a workflow run waits for its jobs, which these do not (a template, "
            "a dry run, or a launcher that leaves): leave that one out"
        )


def prepare(context: Context) -> BackboneSpec:
    """The backbone, made ready in the workspace where it is not yet."""
    backbone = context.workflow.backbone
    with context.progress.step("Prepare backbone", None):
        sample = sampler(context.workspace, context.manifest)
        return preparation.prepare(context.workspace, backbone.name, backbone.precision, sample)


def expect(
    workspace: Folder, workflow: Workflow, lists: Lists | None = None, progress: Progress = SILENT
) -> Forecast:
    """What a workflow run will do, take and cost, with the retraining that its rule asks for."""
    lists = lists or Lists(*freeze_lists(workspace, workflow))
    current = models.find_newest(workspace, workflow.model.name)
    decision = retraining.decide(workspace, workflow, current, lists.labelled)
    return forecast(workspace, workflow, decision, lists, progress)


def _planned(context: Context, spec: BackboneSpec, manifest: Manifest) -> dict[str, Any]:
    job = EmbedJob(spec.fingerprint)
    planned = runs.make_plan(context.workspace, job, manifest)
    return {
        "to_embed": planned.spec.planned,
        "to_read_bytes": planned.draft.new_bytes,
        "up_to_date": planned.spec.skipped,
        "known_failures": planned.spec.known_failures,
        "shards": len(planned.spec.shard_sizes),
        "unfinished": int(runs.open_run(context.workspace, job, manifest.source) is not None),
    }


def _line(facts: dict[str, Any]) -> str:
    known = f", {facts['known_failures']:,} known failures" if facts["known_failures"] else ""
    joined = "; a run that was not finished is joined" if facts["unfinished"] else ""
    to_read = bytes_text(facts["to_read_bytes"])
    return (
        f"{images_text(facts['to_embed'])} to embed ({to_read} to read), "
        f"{facts['up_to_date']:,} up to date{known}{joined}"
    )
