"""Results in words, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from linnaeus.plain_text import plain
from linnaeus.progress import Meter, bytes_text, count_text, duration_text

if TYPE_CHECKING:
    from linnaeus.jobs import FrozenRun, RunSummary, SliceSummary
    from linnaeus.maintenance import Compaction, Swept, Vacuum
    from linnaeus.records import Counts, PhotoLabels
    from linnaeus.status import RunDetails, RunProgress, RunStatus

_NOTHING = "\N{EN DASH}    "
"""As wide as the numbers above and below."""
_MEASURES = ("precision", "recall", "f1")


def run_text(run: RunSummary) -> str:
    """What a run did, or that there was nothing to do."""
    output = f"; written to {run.output}" if run.output else ""
    if not run.committed:
        planned = count_text(run.counts.planned, "images")
        return (
            f"{planned} planned in run {run.run_id}, which its pipeline's last step commits, or "
            f"linnaeus commit {run.run_id}"
        )
    if run.run_id is None:
        return f"Nothing to do: {counts_text(run.counts)}{output}"
    took = f" took {duration_text(run.seconds)}" if run.seconds else ""  # a mere commit takes none
    return f"{counts_text(run.counts)}; run {run.run_id}{took}{output}"


def frozen_text(frozen: FrozenRun) -> str:
    """What was frozen under a name, and how its slices are done."""
    if frozen.run_id is None:
        failed = f", {frozen.known_failures:,} known failures" if frozen.known_failures else ""
        return f"Plan {frozen.plan}: nothing to do: {frozen.skipped:,} up to date{failed}"
    joined = ", which was unfinished" if frozen.joined else ""
    todo = f"{count_text(frozen.objects, 'images')} in {count_text(frozen.shards, 'shards')}"
    return (
        f"Plan {frozen.plan}: {todo} to {frozen.job} in run {frozen.run_id}{joined}\n"
        f"linnaeus {frozen.job} --plan {frozen.plan} --slice K/N  does a slice of it\n"
        f"linnaeus commit --plan {frozen.plan}  commits it when all are done"
    )


def slice_text(done: SliceSummary) -> str:
    """What was done of a slice, and that the run waits for its commit."""
    name = f"Slice {done.slice} of plan {done.plan}"
    if done.run_id is None:
        return f"{name}: nothing to do, everything was up to date when it was frozen"
    if done.over:
        return f"{name}: nothing to do, run {done.run_id} is committed"
    before = f", {done.shards_done_before:,} of them done before" if done.shards_done_before else ""
    counts = done.counts
    now = f"{counts.done:,} done, {counts.failed:,} failed" if counts.planned else "nothing to do"
    return f"{name}: {now}; {count_text(done.shards, 'shards')}{before}"


def counts_text(counts: Counts) -> str:
    """`2,623 done, 1 failed (CORRUPT 1)`, and what was not done again."""
    parts = [f"{counts.done:,} done"] if counts.planned else []
    if counts.failed:
        codes = ", ".join(f"{code} {count:,}" for code, count in counts.codes.items())
        parts.append(
            f"{counts.failed:,} failed ({codes})" if codes else f"{counts.failed:,} failed"
        )
    if counts.skipped or not counts.planned:
        parts.append(f"{counts.skipped:,} up to date")
    if counts.known_failures:
        parts.append(f"{counts.known_failures:,} known failures")
    if counts.compared:
        parts.append(f"{counts.changed:,} of {count_text(counts.compared, 'labels')} changed")
    return ", ".join(parts)


def run_status_text(status: RunStatus) -> str:
    """`Run 01K… is running: 512 of 2,624 images, 1 failed, 84.3 images/s, 25 s left`."""
    seen = status.progress
    meter = Meter(f"Run {seen.run_id} is {seen.state}", seen.objects, "images")
    meter.update(seen.finished, seen.failed, seen.figures)
    lines = [meter.underway()]
    if seen.state == "running":
        lines.append(status.trouble or f"its launcher is {'at work' if status.alive else 'silent'}")
    if seen.error:
        lines.append(f"it stopped: {seen.error}")
    return "\n".join(lines)


def run_details_text(details: RunDetails) -> str:
    """How far a run is, its failures by code, and a line for each that is shown."""
    seen, lines = details.status.progress, [run_status_text(details.status)]
    if details.codes:
        codes = ", ".join(f"{code} {count:,}" for code, count in details.codes.items())
        lines.append(f"failed: {codes}")
    lines += [
        plain(f"  {one['uri']}: {one['code']}, attempt {one['attempt']}: {one['message']}")
        for one in details.failures
    ]
    if len(details.failures) < seen.failed:
        lines.append(f"  and {seen.failed - len(details.failures):,} more; --failures shows them")
    return "\n".join(lines)


def run_facts(of: RunProgress | RunDetails) -> dict[str, Any]:
    """For machines: the fields of `progress.json`; of a run in detail also what failed."""
    from linnaeus.status import RunProgress

    if isinstance(of, RunProgress):
        return of.to_dict()
    described = {name: getattr(of.run, name) for name in ("source", "manifest_id", "model")}
    more = {"trouble": of.status.trouble, "codes": of.codes, "failures": of.failures}
    return {**run_facts(of.status.progress), **described, **more}


def accuracy_text(metrics: Mapping[str, Any]) -> str:
    """`0.853 (95 % interval 0.824 to 0.878) on 656 images`."""
    low, high = metrics["accuracy_interval"]
    accuracy, images = metrics["accuracy"], metrics["images"]
    interval = f"95 % interval {low:.3f} to {high:.3f}"
    return f"{accuracy:.3f} ({interval}) on {count_text(images, 'images')}"


def evaluation_text(metrics: Mapping[str, Any]) -> str:
    """Accuracy, a line a class, the other measures, and how many images were left out and why."""
    width = max((len(label) for label in metrics["classes"]), default=0)
    classes = [
        plain(f"  {label:<{width}}  {_class_text(one)}")
        for label, one in metrics["classes"].items()
    ]
    several = metrics.get("task") == "multi"
    what = "All labels of an image right: accuracy" if several else "Accuracy"
    known = {"test": ", which its training held out", "all": ", none known to be of its training"}
    first = f"{what} {accuracy_text(metrics)}{known.get(metrics.get('split', ''), '')}"
    return "\n".join([first, *classes, *_measure_lines(metrics)])


def _measure_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    for name in ("macro", "micro"):
        if average := metrics.get(name):
            yield f"{name} average: {_measures_text(average)}"
    if top := metrics.get("top_k"):
        yield f"true label among the best {top['k']}: {top['accuracy']:.3f}"
    if "log_loss" in metrics:
        yield f"log loss {metrics['log_loss']:.3f}"
    if calibration := metrics.get("calibration"):
        yield f"calibration error {calibration['error']:.3f}"
    if abstention := metrics.get("abstention"):
        yield _abstention_text(abstention)
    if metrics["left_out"]:
        left_out = ", ".join(f"{count:,} {why}" for why, count in metrics["left_out"].items())
        yield f"left out: {left_out}"


def _abstention_text(abstention: Mapping[str, Any]) -> str:
    return (
        f"unknown below a confidence of {abstention['threshold']:.3f}: "
        f"{count_text(abstention['unknown'], 'images')}; the others: "
        f"coverage {abstention['coverage']:.3f}, precision {abstention['precision']:.3f}"
    )


def _class_text(metrics: Mapping[str, Any]) -> str:
    """Dashes where no image of the class was judged, which says nothing of the model."""
    ranking = metrics.get("average_precision")
    precision = "" if ranking is None else f"  average precision {_or_dash(ranking, metrics)}"
    return f"{_measures_text(metrics)}{precision}  {count_text(metrics['support'], 'images')}"


def _measures_text(metrics: Mapping[str, Any]) -> str:
    precision, recall, f1 = (_or_dash(metrics[name], metrics) for name in _MEASURES)
    return f"precision {precision}  recall {recall}  F1 {f1}"


def _or_dash(measure: float, metrics: Mapping[str, Any]) -> str:
    return f"{measure:.3f}" if metrics.get("support", 1) else _NOTHING


def photos_text(photos: Sequence[PhotoLabels]) -> str:
    """The photos that have labels, with headings where several were asked for."""
    labelled = [photo for photo in photos if not photo.error]
    headings = [f"{plain(photo.path)}:\n" if len(photos) > 1 else "" for photo in labelled]
    texts = ["\n".join(map(plain, _photo_lines(photo))) for photo in labelled]
    return "\n\n".join(map("".join, zip(headings, texts, strict=True)))


def _photo_lines(photo: PhotoLabels) -> Iterator[str]:
    """`label (score=0.00000)`, best first; before them what is said instead where none is sure."""
    if photo.label and not photo.chosen:
        yield f"{photo.label} (score={photo.labels[0][1]:.5f})"
    for label, score in photo.labels:
        yield f"{label} (score={score:.5f})"


def compactions_text(done: Sequence[Compaction]) -> str:
    """A line a table: `objects: 40 parts become 3, 10,000 rows`."""
    return "\n".join(map(_compaction_text, done)) or "There are no tables"


def _compaction_text(done: Compaction) -> str:
    if done.busy:
        return f"{done.table}: another process is compacting it"
    if done.parts_after == done.parts_before:
        count = count_text(done.parts_after, "parts")
        return f"{done.table}: nothing to merge, {count}, {count_text(done.rows, 'rows')}"
    dropped = f", {done.repeats_dropped:,} of them repeated" if done.repeats_dropped else ""
    parts = f"{count_text(done.parts_before, 'parts')} become {done.parts_after:,}"
    return f"{done.table}: {parts}, {count_text(done.rows + done.repeats_dropped, 'rows')}{dropped}"


def vacuum_text(done: Vacuum) -> str:
    """A line a table with files that went, or would go, and one for what runs left behind."""
    verb = "would go" if done.dry_run else "deleted"
    lines = [f"{table}: {_swept_text(swept)} {verb}" for table, swept in done.tables.items()]
    if done.runs.files:
        lines.append(f"runs: {_swept_text(done.runs)} {verb}")
    if done.given_up:
        given_up = "would be given up" if done.dry_run else "given up"
        lines.append(f"unfinished runs {given_up}: {', '.join(done.given_up)}")
    return "\n".join(lines) or "Nothing to delete"


def _swept_text(swept: Swept) -> str:
    return f"{count_text(swept.files, 'files')}, {bytes_text(swept.size_bytes)},"


def facts_text(facts: Mapping[str, Any]) -> str:
    """A line a fact, nested ones indented."""
    return "\n".join(map(plain, _fact_lines(facts, "")))


def _fact_lines(facts: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in facts.items():
        title = f"{indent}{str(name).replace('_', ' ')}:"
        if isinstance(value, Mapping):
            yield title if value else f"{title} none"
            yield from _fact_lines(value, indent + "  ")
        elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            yield title
            for one in value:
                yield f"{indent}  - " + ", ".join(f"{k} {_word(v)}" for k, v in one.items())
        else:
            yield f"{title} {_word(value)}"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_word, value)) or "none"
    return "none" if value is None else str(value)
