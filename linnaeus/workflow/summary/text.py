"""A workflow run's summary as people read it in a mail or a message: at most `MOST_LINES` lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from linnaeus.progress import bytes_text, count_text, duration_text
from linnaeus.workflow.drift import Drift, EmbeddingDrift, LabelDrift
from linnaeus.workflow.forecast.cost import money_text

if TYPE_CHECKING:
    from linnaeus.workflow.summary.summary import Summary

MOST_LINES = 25
MOST_CHARACTERS = 200
"""Of a line; the JSON has it all."""
_CODES = 4


def text(summary: Summary) -> str:
    """The whole text, ending with a line break."""
    lines = [_cut(line) for line in _lines(summary)]
    return "\n".join(lines[:MOST_LINES]) + "\n"


def _lines(summary: Summary) -> Iterator[str]:
    yield summary.headline
    yield f"Images: {_counts(summary)}"
    yield f"Model: {_model(summary)}"
    if churn := summary.churn:
        compared = count_text(churn.compared, "labels")
        became = "would have changed" if summary.status == "refused" else "changed"
        yield f"Churn: {churn.changed:,} of {compared} {became} ({_percent(churn.share)})"
    yield from _drift_lines(summary.drift)
    yield from _failure_lines(summary)
    read = bytes_text(summary.bytes_read)
    yield f"Took {duration_text(summary.seconds)}, read {read}{_cost(summary)}"
    if summary.report:
        yield f"Page: {summary.report}"
    if summary.status != "done":
        yield f"Last good run: {summary.last_success_at or 'none that is known'}"
    yield "Steps:"
    for step in summary.steps:
        yield f"  {step.name} {step.status}, {duration_text(step.seconds)}: {step.line}"


def _counts(summary: Summary) -> str:
    counts = summary.counts
    facts = [
        f"{counts.listed:,} listed",
        f"{counts.embedded:,} embedded",
        f"{counts.labelled:,} labelled",
        f"{counts.skipped:,} up to date",
    ]
    if counts.reused:
        facts.insert(2, f"{counts.reused:,} of known content")
    if counts.failed:
        facts.append(f"{counts.failed:,} failed ({counts.new_failures:,} new)")
    if counts.known_failures:
        facts.append(count_text(counts.known_failures, "known failures"))
    return ", ".join(facts)


def _model(summary: Summary) -> str:
    model = summary.model
    if model.after is None:
        return f"{model.name}, of which no version is known"
    accuracy = "" if model.accuracy is None else f", test accuracy {model.accuracy:.3f}"
    if model.before == model.after:
        kept = " as before" if summary.status == "done" else " stays"
        return f"{model.name}:{model.after}{kept}"
    before = "the first" if model.before is None else f"after {model.name}:{model.before}"
    return f"{model.name}:{model.after}, {before}{accuracy}"


def _drift_lines(drift: Drift) -> Iterator[str]:
    if drift.why_not:
        yield f"Drift: not measured: {drift.why_not}"
        return
    if drift.embeddings:
        yield f"Drift of embeddings: {_embeddings(drift.embeddings)}"
    if drift.labels:
        yield f"Drift of labels: {_labels(drift.labels)}"
    if drift.unknown_share:
        yield f"Unknown: {_percent(drift.unknown_share)} of the images labelled in this run"


def _embeddings(drift: EmbeddingDrift) -> str:
    if drift.drift is None:
        return f"too few images to say ({drift.images:,} against {drift.reference_images:,})"
    return f"{drift.level} ({drift.drift:.2f} of the training images' radius)"


def _labels(drift: LabelDrift) -> str:
    if drift.drift is None:
        return f"too few images to say ({drift.images:,} against {drift.reference_images:,})"
    movers = ", ".join(
        f"{one.label} {_percent(one.reference_share)} to {_percent(one.share)}"
        for one in drift.movers
    )
    index = f"{drift.level} (stability index {drift.drift:.2f})"
    return index if drift.level == "none" else f"{index}; {movers}"


def _failure_lines(summary: Summary) -> Iterator[str]:
    for group in summary.new_failures[:_CODES]:
        example = f", such as {group.examples[0]}" if group.examples else ""
        yield f"New failures: {group.code} {group.images:,}{example}"
    if len(summary.new_failures) > _CODES:
        yield f"New failures: and of {len(summary.new_failures) - _CODES:,} more codes"


def _cost(summary: Summary) -> str:
    cost = summary.cost
    return f", cost {money_text(cost.total, cost.currency)}" if cost else ""


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _cut(line: str) -> str:
    """One line, however many an error's text has, without what a terminal would obey."""
    flat = "".join(one if one.isprintable() else " " for one in line)
    return flat if len(flat) <= MOST_CHARACTERS else f"{flat[: MOST_CHARACTERS - 3]}..."
