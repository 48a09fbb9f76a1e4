"""The list after a file of changes is what a listing of what they name would make it."""

import json
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus import manifests
from linnaeus.errors import ConfigurationError, FailureCode, StorageError
from linnaeus.manifests import freeze, freeze_changed, freezing, load, sources
from linnaeus.storage import Folder

NAMES = ("cats/1.jpg", "cats/2.jpg", "dogs/1.PNG", "dogs/a b+c.jpg", "loose.jpg")
NO_IMAGES = ("cats/notes.txt", "cats/_hidden/1.jpg", ".trash/1.jpg", "elsewhere/../1.jpg")


def put(folder: Path, name: str, size: int) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def sizes(workspace, manifest):
    rows = load(workspace, manifest.id).to_pylist()
    start = manifest.source + "/"
    return {row["uri"].removeprefix(start): row["size"] for row in rows}


@pytest.fixture
def folder(tmp_path):
    for size, name in enumerate(NAMES, 1):
        put(tmp_path / "pics", name, size)
    return tmp_path / "pics"


@pytest.fixture
def changes(tmp_path):
    def write(*lines: str) -> str:
        (tmp_path / "changes").write_text("\n".join(lines))
        return str(tmp_path / "changes")

    return write


SIZES = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3), min_size=1)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(before=SIZES, after=SIZES, named=st.lists(st.sampled_from(NAMES + NO_IMAGES)))
def test_named_images_are_as_they_are_now_and_the_others_as_they_were(before, after, named):
    expected = {name: size for name, size in before.items() if name not in named}
    expected |= {name: size for name, size in after.items() if name in named}
    with tempfile.TemporaryDirectory() as scratch:
        workspace, pics = Folder(f"{scratch}/workspace"), Path(scratch) / "pics"
        for name, size in before.items():
            put(pics, name, size)
        first = freeze(workspace, str(pics))
        shutil.rmtree(pics)
        for name, size in after.items():
            put(pics, name, size)
        Path(scratch, "changes").write_text("\n".join(named))
        if not expected:
            with pytest.raises(ConfigurationError, match="no images are left"):
                freeze(workspace, str(pics), f"{scratch}/changes")
            return
        second = freeze(workspace, str(pics), f"{scratch}/changes")
        assert sizes(workspace, second) == expected
        assert (second == first) == (not set(named) & {*before, *after})
        assert freeze(workspace, str(pics), f"{scratch}/changes") == second


def test_the_list_is_the_one_that_a_listing_makes(workspace, folder, changes):
    freeze(workspace, str(folder))
    put(folder, "cats/new.jpg", 9)
    put(folder, "cats/1.jpg", 10)
    (folder / "loose.jpg").unlink()
    named = changes("cats/new.jpg", "cats/1.jpg", "loose.jpg", "cats/1.jpg", "cats/never.jpg")
    changed, found = freeze_changed(workspace, str(folder), named)
    assert (found.named, found.ignored, found.images, found.gone) == (5, 0, 4, 2)
    assert changed.number == 2
    assert freeze(workspace, str(folder)) == changed
    assert freeze(workspace, str(folder), named) == changed


def test_labels_and_splits_are_told_anew_from_all_names(workspace, tmp_path, changes):
    for name in ("train/cat/1.jpg", "test/cat/2.jpg", "train/dog/3.jpg"):
        put(tmp_path / "pics", name, 1)
    freeze(workspace, str(tmp_path / "pics"))
    put(tmp_path / "pics", "test/dog/4.jpg", 1)
    changed = freeze(workspace, str(tmp_path / "pics"), changes("test/dog/4.jpg"))
    rows = load(workspace, changed.id).to_pylist()
    assert {(row["label"], row["split"]) for row in rows} == {
        ("cat", "test"),
        ("cat", "train"),
        ("dog", "test"),
        ("dog", "train"),
    }


def test_the_beginning_of_names_stays_the_beginning(workspace, folder, changes):
    begin = f"{folder}/cats/"[:-2]  # `…/cat`
    first = freeze(workspace, begin)
    put(folder, "cats/3.jpg", 3)
    put(folder, "dogs/3.jpg", 3)
    changed, found = freeze_changed(
        workspace, begin, changes(f"{folder}/cats/3.jpg", f"{folder}/dogs/3.jpg")
    )
    assert (first.objects, changed.objects, found.ignored) == (2, 3, 1)


def test_other_places_and_the_workspace_are_ignored(tmp_path, folder, changes):
    workspace = Folder(str(folder / "workspace"))
    freeze(workspace, str(folder))
    put(folder, "workspace/1.jpg", 1)
    put(tmp_path, "other/1.jpg", 1)
    named = changes("workspace/1.jpg", f"{tmp_path}/other/1.jpg", "s3://bucket/1.jpg")
    manifest, found = freeze_changed(workspace, str(folder), named)
    assert (found.named, found.ignored, found.images, manifest.number) == (3, 3, 0, 1)


def test_changes_go_into_the_list_that_another_process_makes_meanwhile(
    workspace, folder, changes, monkeypatch
):
    freeze(workspace, str(folder))
    put(folder, "cats/3.jpg", 3)
    named, read_changed, others = changes("cats/3.jpg"), sources.read_changed, []

    def while_another_lists(*arguments):
        if not others:
            put(folder, "dogs/3.jpg", 3)
            (folder / "cats/3.jpg").rename(folder / "3.jpg")
            others.append(freeze(workspace, str(folder)))
            (folder / "3.jpg").rename(folder / "cats/3.jpg")
        return read_changed(*arguments)

    monkeypatch.setattr(freezing, "read_changed", while_another_lists)
    manifest = freeze(workspace, str(folder), named)
    assert (others[0].number, manifest.number) == (2, 3)
    assert {"cats/3.jpg", "dogs/3.jpg"} < set(sizes(workspace, manifest))


def test_there_must_be_a_list_and_it_must_be_of_a_folder(workspace, folder, tmp_path, changes):
    with pytest.raises(ConfigurationError, match=r"there is no list of .* without changes"):
        freeze(workspace, str(folder), changes("cats/1.jpg"))
    (tmp_path / "mine.csv").write_text("uri\npics/loose.jpg\n")
    freeze(workspace, str(tmp_path / "mine.csv"))
    with pytest.raises(ConfigurationError, match="leave the changes out"):
        freeze(workspace, str(tmp_path / "mine.csv"), changes("cats/1.jpg"))


def test_an_image_that_may_not_be_looked_at_is_not_taken_for_gone(
    workspace, folder, changes, monkeypatch
):
    freeze(workspace, str(folder))

    head = Folder.head

    def refuse(folder, key):
        if not key.endswith(".jpg"):
            return head(folder, key)
        raise StorageError(f"{key}: access denied", FailureCode.ACCESS_DENIED)

    named = changes("cats/1.jpg")
    with (
        monkeypatch.context() as patched,
        pytest.raises(StorageError, match=r"access denied; .*s3:ListBucket"),
    ):
        patched.setattr("linnaeus.manifests.changed_keys.Folder.head", refuse)
        freeze(workspace, str(folder), named)
    assert manifests.newest(workspace, str(folder)).number == 1


def test_a_folder_that_vanished_is_not_one_whose_images_are_gone(workspace, folder, changes):
    freeze(workspace, str(folder))
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ConfigurationError, match=r"there is no folder .*pics"):
        freeze(workspace, str(folder), changes("cats/1.jpg"))
    assert manifests.newest(workspace, str(folder)).number == 1


@pytest.mark.slow
def test_a_bucket_that_vanished_is_not_one_whose_images_are_gone(workspace, s3, changes):
    bucket, client = s3.bucket(), s3.client()
    name = bucket.removeprefix("s3://")
    for key in ("photos/1.jpg", "photos/2.jpg"):
        client.put_object(Bucket=name, Key=key, Body=b"1")
    freeze(workspace, f"{bucket}/photos")
    for key in ("photos/1.jpg", "photos/2.jpg"):
        client.delete_object(Bucket=name, Key=key)
    client.delete_bucket(Bucket=name)
    with pytest.raises(StorageError, match=f"no bucket {bucket}"):
        freeze(workspace, f"{bucket}/photos", changes("photos/1.jpg"))
    assert manifests.newest(workspace, f"{bucket}/photos").number == 1


@pytest.mark.slow
def test_a_name_that_begins_with_a_slash_is_a_name(workspace, s3, changes):
    bucket, client = s3.bucket(), s3.client()
    for key in ("photos/1.jpg", "photos//2.jpg"):
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"1")
    freeze(workspace, f"{bucket}/photos")
    found = freeze_changed(workspace, f"{bucket}/photos", changes("photos//2.jpg"))[1]
    assert (found.named, found.ignored, found.images) == (1, 0, 1)


@pytest.mark.slow
def test_events_of_a_bucket_name_whole_keys(workspace, s3, tmp_path):
    bucket, client = s3.bucket(), s3.client()
    name = bucket.removeprefix("s3://")
    for key in ("photos/cat/1.jpg", "photos/cat/2.jpg", "other/3.jpg"):
        client.put_object(Bucket=name, Key=key, Body=b"1")
    images = f"{bucket}/photos"
    first = freeze(workspace, images)
    new = "photos/dog/é+ a//b.jpg"
    client.put_object(Bucket=name, Key=new, Body=b"22")
    client.delete_object(Bucket=name, Key="photos/cat/2.jpg")
    lines = []
    for key, kind in ((new, "ObjectCreated:Put"), ("photos/cat/2.jpg", "ObjectRemoved:Delete")):
        described = {"bucket": {"name": name}, "object": {"key": quote_plus(key, safe="/")}}
        lines.append(json.dumps({"Records": [{"eventName": kind, "s3": described}]}))
    lines += ["photos/cat/1.jpg", "other/3.jpg"]
    client.put_object(Bucket=name, Key="events/night/1.json", Body="\n".join(lines).encode())
    manifest, found = freeze_changed(workspace, images, f"{bucket}/events/night")
    assert (found.named, found.ignored, found.images, found.gone) == (4, 1, 3, 1)
    assert sizes(workspace, manifest) == {"cat/1.jpg": 1, "dog/é+ a//b.jpg": 2}
    listed = load(workspace, freeze(workspace, images).id).to_pylist()
    assert [row["etag"] for row in load(workspace, manifest.id).to_pylist()] == [
        row["etag"] for row in listed
    ]
    assert first.objects == 2
