"""A look at images before anything is listed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from linnaeus.errors import ConfigurationError, StorageError
from linnaeus.workflow.file import first_look
from linnaeus.workflow.file.first_look import look_at
from tests.buckets import fill


def files(folder, *names: str) -> str:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return str(folder)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat/1.jpg", "dog/2.PNG"], ("cat", "dog")),
        (["train/cat/1.jpg", "test/dog/2.jpg"], ("cat", "dog")),
        (["cat/a/b/1.jpg", "dog/2.jpg", "3.jpg"], ("cat", "dog")),
        (["0/1.jpg", "7/1.jpg"], ("0", "7")),
        (["cat/1.jpg"], ("cat",)),
        (["1.jpg", "2.jpg", "3.jpg", "cat/1.jpg", "dog/1.jpg"], ()),
        (["2025/1.jpg", "2026/1.jpg"], ()),
        (["2025-01-01/1.jpg", "2025-01-02/1.jpg"], ()),
        (["01/1.jpg", "12/1.jpg"], ()),
        (["a0/1.jpg", "ff/1.jpg"], ()),
        (["day=1/1.jpg", "day=2/1.jpg"], ()),
        (["photos/1.jpg", "images-2/1.jpg"], ()),
        ([f"user{n}/1.jpg" for n in range(201)], ()),
        (["cat/1.jpg", "dog/notes.txt", "_dog/1.jpg", ".x/1.jpg"], ("cat",)),
    ],
)
def test_folders_that_look_like_labels(tmp_path, names, labels):
    seen = look_at(files(tmp_path, *names))
    assert (seen.labels if len(seen.labels) > 1 else ()) == (labels if len(labels) > 1 else ())
    assert seen.labelled == (len(labels) > 1)
    assert seen.complete and seen.size_bytes == 5 * seen.images


def test_a_list_has_its_rows_and_labels(tmp_path):
    (tmp_path / "list.csv").write_text("uri,label\na.jpg,cat\nb.jpg,dog\nc.jpg,\n")
    seen = look_at(str(tmp_path / "list.csv"))
    assert (seen.images, seen.labels, seen.complete) == (3, ("cat", "dog"), True)


def test_counting_ends_somewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(first_look, "LOCAL_FILES", 5)
    seen = look_at(str(fill(tmp_path, 10)))
    assert (seen.images, seen.complete) == (5, False)


@pytest.mark.slow
def test_a_large_bucket_is_looked_at_by_folders(s3, monkeypatch):
    monkeypatch.setattr(first_look, "PAGE_KEYS", 20)
    monkeypatch.setattr("linnaeus.storage.buckets.PAGE_KEYS", 20)
    bucket = s3.bucket()
    name, client = bucket.removeprefix("s3://"), s3.client()
    day = f"inventory/{name}/all/2026-11-{{}}T01-00Z/manifest.json"
    keys = [f"photos/{label}/{n:02d}.jpg" for label in ("cat", "dog", "yak") for n in range(30)]
    keys += [day.format("01"), day.format("02"), f"inventory/{name}/all/data/x.csv.gz"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=name, Key=key, Body=b"12345"), keys))
    seen = look_at(f"{bucket}/photos")
    assert seen.labels == ("cat", "dog", "yak")
    assert (seen.complete, 60 <= seen.images < 90) == (False, True)
    assert seen.inventory == f"{bucket}/{day.format('02')}"
    with pytest.raises(ConfigurationError, match="no images in"):
        look_at(f"{bucket}/nothing")
    with pytest.raises(StorageError, match="no bucket s3:"):
        look_at("s3://there-is-no-such-bucket-here/photos")
