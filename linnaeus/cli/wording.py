"""Results in words, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from linnaeus.progress import duration_text

if TYPE_CHECKING:
    from linnaeus.records import Counts
    from linnaeus.workspace import RunSummary


def run_text(run: RunSummary) -> str:
    """What a run did, or that there was nothing to do."""
    if run.run_id is None:
        return f"Nothing to do: {counts_text(run.counts)}"
    output = f"; written to {run.output}" if run.output else ""
    took = duration_text(run.seconds)
    return f"{counts_text(run.counts)}; run {run.run_id} took {took}{output}"


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
    return ", ".join(parts)


def accuracy_text(metrics: Mapping[str, Any]) -> str:
    """`0.853 (95 % interval 0.824 to 0.878) on 656 images`."""
    low, high = metrics["accuracy_interval"]
    accuracy, images = metrics["accuracy"], metrics["images"]
    return f"{accuracy:.3f} (95 % interval {low:.3f} to {high:.3f}) on {images:,} images"


def evaluation_text(metrics: Mapping[str, Any]) -> str:
    """Accuracy, then a line a class."""
    width = max((len(label) for label in metrics["classes"]), default=0)
    classes = [
        f"  {label:<{width}}  precision {one['precision']:.3f}  recall {one['recall']:.3f}  "
        f"F1 {one['f1']:.3f}  {one['support']:,} images"
        for label, one in metrics["classes"].items()
    ]
    return "\n".join([f"Accuracy {accuracy_text(metrics)}", *classes])


def facts_text(facts: Mapping[str, Any]) -> str:
    """A line a fact, nested ones indented."""
    return "\n".join(_fact_lines(facts, ""))


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
