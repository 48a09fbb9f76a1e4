"""embed: every image that has no vector yet gets one."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from linnaeus.jobs import RunSummary
from linnaeus.manifests import Manifest
from linnaeus.records import Counts
from linnaeus.workflow import gates
from linnaeus.workflow.context import Context, Outcome, skipped
from linnaeus.workflow.manifest_diff import images_text


def embed(context: Context) -> Outcome:
    """Embed the images, and the labelled ones where they are others.

    Raises:
        Refused: too many images failed that never had before; the rest is embedded.
    """
    planned, refused = context.facts("plan"), context.run.refused.get("embed", {})
    if not (planned["to_embed"] or planned["unfinished"] or refused):
        known = {"skipped": planned["up_to_date"], "known_failures": planned["known_failures"]}
        return skipped("every image is embedded", run_id=None, **asdict(Counts(**known)))
    run = _embedded(context, context.manifest)
    counts, run_id, seconds = _work_of(run), run.run_id, run.working_seconds
    if context.labelled_manifest.id != context.manifest.id:
        more = _embedded(context, context.labelled_manifest)
        counts, run_id = gates.with_work(counts, _work_of(more)), run_id or more.run_id
        seconds += more.working_seconds
    run_id = run_id or refused.get("run_id")
    counts = gates.with_refused(counts, refused)
    facts = {"run_id": run.run_id or refused.get("run_id"), **asdict(counts)}
    facts |= {"working_seconds": round(seconds, 3)}
    gates.refuse_failures(context.workflow.gates, run_id or "", counts, facts)
    return Outcome(line(facts), facts, "done" if run_id else "skipped")


def _work_of(run: RunSummary) -> Counts:
    """What was done, runs that were joined and finished included."""
    new_failures = run.counts.new_failures - run.joined.new_failures  # `joined` has these, too
    return gates.with_work(replace(run.counts, new_failures=new_failures), run.joined)


def _embedded(context: Context, manifest: Manifest) -> RunSummary:
    from beam_pipelines.embed import EmbedRequest, embed_listed, refuse_unfit

    backbone, options = context.workflow.backbone, context.workflow.beam.options
    request = EmbedRequest(manifest.source, backbone.name, backbone.precision, beam_options=options)
    refuse_unfit(context.workspace, request, context.progress)
    return embed_listed(context.workspace, manifest, request, context.progress)


def line(facts: Mapping[str, Any]) -> str:
    """`7 images embedded, 1 failed, 88 up to date`."""
    words = [f"{images_text(facts['done'])} embedded"]
    if known := facts["done"] - facts["embedded"]:
        words[0] += f" ({known:,} of known content)"
    if facts["failed"]:
        words.append(f"{facts['failed']:,} failed ({facts['new_failures']:,} new)")
    words.append(f"{facts['skipped']:,} up to date")
    return ", ".join(words)
