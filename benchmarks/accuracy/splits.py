"""Manifests of the same pictures with other test sets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from linnaeus.datasets.splitting import stratified_test_rows

TEST_SHARE = 0.25


def write_split(manifest: Path, seed: int) -> Path:
    """Write beside a CSV manifest the same with a quarter held out, drawn by `seed`.

    Strata are the labels with their weights: of the solar cells, so, the experts' probabilities.
    """
    with manifest.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    path = manifest.with_name(f"split-{seed}.csv")
    path.write_text(_text(split_anew(rows, seed)), "utf-8")
    return path


def split_anew(rows: Sequence[dict[str, str]], seed: int) -> list[dict[str, str]]:
    """The rows of a manifest with another `split`."""
    strata = [(row["label"], row.get("weight")) for row in rows]
    test = stratified_test_rows(strata, TEST_SHARE, seed)
    return [row | {"split": "test" if place in test else "train"} for place, row in enumerate(rows)]


def _text(rows: Sequence[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
