from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from linnaeus.datasets import place
from linnaeus.datasets.placing import Sample
from linnaeus.manifests import freeze
from linnaeus.storage import Folder

SAMPLES = [
    Sample("b/2.png", "roter Milan", b"two", "test", 0.5),
    Sample("a/1.png", "daisy", b"one", "train"),
]


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def never() -> Iterator[Sample]:
    raise AssertionError("the pictures are all there")


def test_pictures_lie_where_the_manifest_says(tmp_path: Path):
    manifest = place(lambda: SAMPLES, tmp_path)
    assert rows_of(manifest) == [
        {"uri": "a/1.png", "label": "daisy", "split": "train", "weight": "1.0"},
        {"uri": "b/2.png", "label": "roter Milan", "split": "test", "weight": "0.5"},
    ]
    assert [(tmp_path / row["uri"]).read_bytes() for row in rows_of(manifest)] == [b"one", b"two"]


def test_columns_that_say_nothing_are_left_out(tmp_path: Path):
    manifest = place(lambda: [Sample("1.png", "daisy", b"one")], tmp_path)
    assert manifest.read_text() == "uri,label\n1.png,daisy\n"


def test_a_second_time_asks_for_no_pictures(tmp_path: Path):
    first = place(lambda: SAMPLES, tmp_path)
    assert place(never, tmp_path) == first


def test_a_lost_picture_is_put_back_and_the_others_are_left_alone(tmp_path: Path):
    place(lambda: SAMPLES, tmp_path)
    (tmp_path / "a/1.png").unlink()
    before = (tmp_path / "b/2.png").stat()
    place(lambda: SAMPLES, tmp_path)
    after = (tmp_path / "b/2.png").stat()
    assert (tmp_path / "a/1.png").read_bytes() == b"one"
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_an_interruption_leaves_no_manifest_and_can_be_continued(tmp_path: Path):
    def interrupted() -> Iterator[Sample]:
        yield SAMPLES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place(interrupted, tmp_path)
    assert not (tmp_path / "manifest.csv").exists()
    assert len(rows_of(place(lambda: SAMPLES, tmp_path))) == 2


def test_nothing_but_pictures_and_the_manifest_remains(tmp_path: Path):
    place(lambda: SAMPLES, tmp_path)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"1.png", "2.png", "manifest.csv"}


def test_pictures_count_as_settled_at_once(tmp_path: Path):
    images = str(place(lambda: SAMPLES, tmp_path / "bucket"))
    workspace = Folder(str(tmp_path / "workspace"))
    assert freeze(workspace, images) == freeze(workspace, images)
