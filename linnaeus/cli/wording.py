"""Results in words, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from linnaeus.progress import count_text, duration_text

if TYPE_CHECKING:
    from linnaeus.records import Counts
    from linnaeus.workspace import RunSummary

_NOTHING = "\N{EN DASH}    "
"""As wide as the numbers above and below."""


def run_text(run: RunSummary) -> str:
    """What a run did, or that there was nothing to do."""
    output = f"; written to {run.output}" if run.output else ""
    if run.run_id is None:
        return f"Nothing to do: {counts_text(run.counts)}{output}"
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
    interval = f"95 % interval {low:.3f} to {high:.3f}"
    return f"{accuracy:.3f} ({interval}) on {count_text(images, 'images')}"


def evaluation_text(metrics: Mapping[str, Any]) -> str:
    """Accuracy, a line a class, and how many images were left out and why."""
    width = max((len(label) for label in metrics["classes"]), default=0)
    classes = [
        f"  {label:<{width}}  {_class_text(one)}" for label, one in metrics["classes"].items()
    ]
    left_out = ", ".join(f"{count:,} {why}" for why, count in metrics["left_out"].items())
    end = [f"left out: {left_out}"] if left_out else []
    return "\n".join([f"Accuracy {accuracy_text(metrics)}", *classes, *end])


def _class_text(metrics: Mapping[str, Any]) -> str:
    """Dashes where no image of the class was judged, which says nothing of the model."""
    support, names = metrics["support"], ("precision", "recall", "f1")
    texts = [f"{metrics[name]:.3f}" if support else _NOTHING for name in names]
    precision, recall, f1 = texts
    return f"precision {precision}  recall {recall}  F1 {f1}  {count_text(support, 'images')}"


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
