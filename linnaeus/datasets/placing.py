"""Puts pictures and their manifest into a folder; again costs a listing, and repairs a gap."""

import csv
import io
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from linnaeus.progress import SILENT, Progress

MANIFEST = "manifest.csv"
SETTLED_SECONDS = 60
"""A picture is dated back by this much: a listing takes no file of the last moments for final."""


@dataclass(frozen=True)
class Sample:
    """A picture, and what is known of it."""

    name: str
    """Path below the folder, with forward slashes."""
    label: str
    data: bytes
    split: str = ""
    """`train`, `validation` or `test`; empty for the default split."""
    weight: float = 1.0


def place(
    samples: Callable[[], Iterable[Sample]],
    folder: Path,
    total: int | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write the samples below `folder` and give the manifest's path.

    The manifest is written last, so where it and every picture it names are there, `samples` is
    not called.
    """
    manifest = folder / MANIFEST
    if _complete(manifest):
        return manifest
    rows = []
    with progress.step(f"Put pictures into {folder}", total) as step:
        for done, sample in enumerate(samples(), start=1):
            write_absent(folder / sample.name, sample.data)
            rows.append((sample.name, sample.label, sample.split, sample.weight))
            step.update(done)
    _write(manifest, _manifest_text(rows).encode())
    return manifest


def _complete(manifest: Path) -> bool:
    if not manifest.exists():
        return False
    with manifest.open(encoding="utf-8", newline="") as lines:
        names = {row["uri"] for row in csv.DictReader(lines)}
    return names <= _files_below(manifest.parent)


def _files_below(folder: Path) -> set[str]:
    return {
        (Path(parent) / name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder)
        for name in names
    }


def _manifest_text(rows: list[tuple[str, str, str, float]]) -> str:
    """The CSV; columns that say nothing are left out."""
    with_split = any(split for _, _, split, _ in rows)
    with_weight = any(weight != 1 for _, _, _, weight in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["uri", "label", *["split"] * with_split, *["weight"] * with_weight])
    for name, label, split, weight in sorted(rows):
        writer.writerow([name, label, *[split] * with_split, *[weight] * with_weight])
    return text.getvalue()


def write_absent(path: Path, data: bytes) -> None:
    """Keep a file that is there: its change time is part of what the tables know it by."""
    if not path.exists():
        _write(path, data)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(data)
    settled = time.time() - SETTLED_SECONDS
    os.utime(draft, (settled, settled))
    draft.replace(path)
