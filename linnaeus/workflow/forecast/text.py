"""A forecast in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from linnaeus.progress import bytes_text, count_text, duration_text
from linnaeus.workflow.forecast.cost import money_text

if TYPE_CHECKING:
    from linnaeus.workflow.forecast.forecast import Forecast


def text(forecast: Forecast) -> str:
    """A line for each thing that the run would do, and for its time and cost."""
    width = max(len(name) for name, _ in _lines(forecast))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in _lines(forecast))


def _lines(forecast: Forecast) -> Iterator[tuple[str, str]]:
    images = count_text(forecast.objects, "images")
    yield "images", f"{images} in {forecast.source} (manifest {forecast.manifest_id})"
    yield "embed", _embed_text(forecast)
    yield "train", f"{'yes' if forecast.train else 'no'}: {forecast.why}"
    yield "score", count_text(forecast.to_score, "images") if forecast.to_score else "nothing"
    yield "time", _time_text(forecast)
    if forecast.bfloat16_seconds is not None:
        took = duration_text(forecast.bfloat16_seconds)
        yield "", f'embed would take {took} with precision = "bfloat16"'
    yield "cost", money_text(forecast.cost, forecast.prices["currency"])


def _embed_text(forecast: Forecast) -> str:
    known = forecast.known_failures
    parts = [
        f"{count_text(forecast.to_embed, 'images')}, {bytes_text(forecast.to_read_bytes)} to read"
        if forecast.to_embed
        else "nothing",
        f"{forecast.up_to_date:,} up to date",
        *([count_text(known, "known failures")] if known else []),
        *([f"joins run {forecast.joins_run}"] if forecast.joins_run else []),
    ]
    return "; ".join(parts)


def _time_text(forecast: Forecast) -> str:
    steps = ", ".join(f"{name} {duration_text(took)}" for name, took in forecast.seconds.items())
    value = f"{duration_text(sum(forecast.seconds.values()))} ({steps})"
    runs = count_text(forecast.runs, "runs")
    how = f"as in {runs} before" if forecast.runs else "measured on this machine"
    unknown = f"; not known yet: {', '.join(forecast.unknown)}" if forecast.unknown else ""
    return f"{value}, {how}{unknown}"
