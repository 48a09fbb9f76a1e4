from __future__ import annotations

import os
import re
import shutil
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from linnaeus.errors import ConfigurationError, StorageError
from linnaeus.manifests import describe, freeze, load, newest
from linnaeus.manifests.file_source import describe as describe_objects
from linnaeus.records import MANIFEST
from linnaeus.storage import RECENT_MARK, Bucket, Folder, absent, read_object

LONG_AGO = time.time() - 1000


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of images that have not changed for a while."""
    write(tmp_path / "images", "daisy/a.jpg", "daisy/deep/er/b.PNG", "rose red/c.jpeg")
    return tmp_path / "images"


def write(root: Path, *names: str, content: bytes = b"picture") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))


def rows(workspace: Folder, source: object) -> dict[str, tuple[str | None, str | None]]:
    """Freeze a source and return its labels and splits by the names below it."""
    manifest = freeze(workspace, str(source))
    start = manifest.source if Path(manifest.source).is_dir() else str(Path(manifest.source).parent)
    return {
        row["uri"].removeprefix(start + "/"): (row["label"], row["split"])
        for row in load(workspace, manifest.id).to_pylist()
    }


def refused(workspace: Folder, source: object) -> str:
    with pytest.raises(ConfigurationError) as raised:
        freeze(workspace, str(source))
    assert "\n" not in str(raised.value)
    assert list(workspace.list("manifests")) == []
    return str(raised.value)


def test_a_label_is_the_folder_below_the_root(workspace: Folder, images: Path):
    write(images, "loose.jpg")
    assert rows(workspace, images) == {
        "daisy/a.jpg": ("daisy", None),
        "daisy/deep/er/b.PNG": ("daisy", None),
        "loose.jpg": (None, None),
        "rose red/c.jpeg": ("rose red", None),
    }


def test_a_manifest_is_sorted_typed_and_readable_by_its_references(workspace: Folder, images: Path):
    manifest = freeze(workspace, str(images))
    table = load(workspace, manifest.id)
    assert table.schema.equals(MANIFEST, check_metadata=True)
    assert table["uri"].to_pylist() == sorted(table["uri"].to_pylist())
    assert set(table["source"].to_pylist()) == {manifest.source} == {str(images)}
    assert manifest.objects == table.num_rows == 3
    assert re.fullmatch("[0-9a-f]{12}-00000001", manifest.id)
    for row in table.to_pylist():
        assert read_object(row["uri"], row["etag"]) == b"picture"
        assert row["modified"].timestamp() == pytest.approx(LONG_AGO, abs=1e-3)


def test_what_has_not_changed_is_not_written_again(workspace: Folder, images: Path):
    first = freeze(workspace, str(images))
    assert freeze(workspace, f"{images}/") == first
    write(images, "daisy/new.jpg")
    second = freeze(workspace, str(images))
    (images / "daisy/new.jpg").unlink()
    third = freeze(workspace, str(images))
    assert [first.number, second.number, third.number] == [1, 2, 3]
    assert newest(workspace, str(images)) == third == describe(workspace, third.id)
    assert load(workspace, first.id).num_rows == 3


def test_a_changed_file_changes_its_etag_only(workspace: Folder, images: Path):
    before = load(workspace, freeze(workspace, str(images)).id).to_pylist()
    (images / "daisy/a.jpg").write_bytes(b"PICTURE")
    os.utime(images / "daisy/a.jpg", (LONG_AGO + 1, LONG_AGO + 1))
    after = load(workspace, freeze(workspace, str(images)).id).to_pylist()
    assert [a["etag"] == b["etag"] for a, b in zip(before, after, strict=True)] == [
        False,
        True,
        True,
    ]


def test_a_file_that_has_just_changed_is_listed_once_it_has_settled(
    workspace: Folder, images: Path
):
    (images / "daisy/a.jpg").write_bytes(b"new")
    first = load(workspace, freeze(workspace, str(images)).id)["etag"].to_pylist()
    assert RECENT_MARK not in "".join(first)
    assert load(workspace, freeze(workspace, str(images)).id)["etag"].to_pylist() == first


def test_a_file_that_keeps_changing_never_has_the_same_etag_twice(
    workspace: Folder, images: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("linnaeus.manifests.sources.RECENT_SECONDS", 2.0)
    soon = time.time() + 1.0  # as if it were written once more while the folder is listed
    os.utime(images / "daisy/a.jpg", (soon, soon))
    first = load(workspace, freeze(workspace, str(images)).id)["etag"].to_pylist()
    second = load(workspace, freeze(workspace, str(images)).id)["etag"].to_pylist()
    assert [a == b for a, b in zip(first, second, strict=True)] == [False, True, True]
    assert read_object(f"{images}/daisy/a.jpg", first[0]) == b"picture"


def test_a_date_in_the_future_is_not_taken_for_a_change(workspace: Folder, images: Path):
    future = time.time() + 1_000_000
    os.utime(images / "daisy/a.jpg", (future, future))
    assert freeze(workspace, str(images)) == freeze(workspace, str(images))


def test_freezing_at_once_gives_each_number_once(workspace: Folder, tmp_path: Path):
    for n in range(8):
        write(tmp_path / "same", f"a/{n}.jpg")

    def change_and_freeze(n: int) -> Any:
        write(tmp_path / "same", f"b/{n}.jpg")
        return freeze(workspace, str(tmp_path / "same"))

    with ThreadPoolExecutor(8) as pool:
        manifests = list(pool.map(change_and_freeze, range(8)))
    numbers = sorted({manifest.number for manifest in manifests})
    assert numbers == list(range(1, len(numbers) + 1))
    for manifest in manifests:
        assert load(workspace, manifest.id).num_rows == manifest.objects


def test_a_number_is_given_once_whatever_is_deleted(workspace: Folder, images: Path):
    """Labels and runs refer to it."""
    first = freeze(workspace, str(images))
    write(images, "daisy/more.jpg")
    second = freeze(workspace, str(images))
    workspace.delete(f"manifests/{second.id}.parquet")
    third = freeze(workspace, str(images))
    assert (first.number, second.number, third.number) == (1, 2, 3)
    workspace.delete(f"manifests/{third.id}.parquet")
    keys = images.parent / "changed.jsonl"
    keys.write_text(f'{{"uri": "{images}/daisy/more.jpg"}}')
    assert freeze(workspace, str(images), str(keys)).number == 4
    shutil.rmtree(workspace.uri_of("manifests"))
    assert freeze(workspace, str(images)).number == 5


def test_the_number_of_a_list_whose_maker_was_killed_is_given_too(workspace: Folder, images: Path):
    first = freeze(workspace, str(images))
    shutil.rmtree(workspace.uri_of("versions"))  # as if it had not come to that
    assert freeze(workspace, str(images)) == first
    workspace.delete(f"manifests/{first.id}.parquet")
    assert freeze(workspace, str(images)).number == 2


def test_the_parquet_file_says_what_it_is(workspace: Folder, images: Path):
    manifest = freeze(workspace, str(images))
    with workspace.open(f"manifests/{manifest.id}.parquet") as file:
        kept = pq.read_metadata(file)
    assert kept.metadata[b"source"].decode() == str(images)
    assert kept.metadata[b"number"] == b"1"
    assert len(kept.metadata[b"digest"]) == 64
    assert kept.row_group(0).column(1).compression == "ZSTD"


def test_sources_do_not_share_numbers(workspace: Folder, images: Path):
    assert freeze(workspace, str(images)).number == 1
    assert freeze(workspace, f"{images}/daisy").number == 1
    assert newest(workspace, f"{images}/rose red") is None


def test_a_manifest_that_does_not_exist_is_named(workspace: Folder):
    for read in (load, describe):
        with pytest.raises(ConfigurationError, match="there is no manifest abc-1 in"):
            read(workspace, "abc-1")


def test_labels_are_kept_as_written(workspace: Folder, tmp_path: Path):
    names = ["two words", "Grün", "日本", "50%", "a+b#c", "-x", "UPPER", "upper"]
    write(tmp_path / "i", *(f"{name}/x.jpg" for name in names))
    assert sorted(label or "" for label, _ in rows(workspace, tmp_path / "i").values()) == sorted(
        names
    )


def test_labels_that_read_the_same_are_refused(workspace: Folder, tmp_path: Path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    write(tmp_path / "i", f"{composed}/x.jpg", f"{decomposed}/x.jpg")
    message = refused(workspace, tmp_path / "i")
    assert ascii(composed) in message
    assert ascii(decomposed) in message
    (tmp_path / "l.csv").write_text(f"uri,label\na.jpg,{composed}\nb.jpg,{decomposed}\n")
    assert "read the same" in refused(workspace, tmp_path / "l.csv")
    (tmp_path / "m.csv").write_text("uri,labels\na.jpg,big dog\nb.jpg,big  dog|cat\n")
    message = refused(workspace, tmp_path / "m.csv")
    assert "a.jpg" in message
    assert "b.jpg" in message


def test_one_label_may_be_decomposed(workspace: Folder, tmp_path: Path):
    name = unicodedata.normalize("NFD", "café")
    write(tmp_path / "i", f"{name}/x.jpg")
    assert [label for label, _ in rows(workspace, tmp_path / "i").values()] == [name]


def test_folders_that_are_named_like_splits_are_splits(workspace: Folder, tmp_path: Path):
    write(
        tmp_path / "i", "Training/cat/1.jpg", "val/cat/x/2.jpg", "testing/dog/3.jpg", "test/4.jpg"
    )
    assert rows(workspace, tmp_path / "i") == {
        "Training/cat/1.jpg": ("cat", "train"),
        "val/cat/x/2.jpg": ("cat", "validation"),
        "testing/dog/3.jpg": ("dog", "test"),
        "test/4.jpg": (None, "test"),
    }


def test_a_label_may_be_called_train(workspace: Folder, tmp_path: Path):
    write(tmp_path / "i", "train/1.jpg", "bus/2.jpg")
    assert rows(workspace, tmp_path / "i") == {
        "train/1.jpg": ("train", None),
        "bus/2.jpg": ("bus", None),
    }


def test_splits_beside_another_folder_are_refused(workspace: Folder, tmp_path: Path):
    write(tmp_path / "i", "train/a/1.jpg", "test/a/2.jpg", "extra/3.jpg")
    assert "test, train look like splits but extra does not" in refused(workspace, tmp_path / "i")


def test_a_flat_folder_has_no_labels(workspace: Folder, tmp_path: Path):
    write(tmp_path / "i", "1.jpg", "2.jpg")
    assert rows(workspace, tmp_path / "i") == {"1.jpg": (None, None), "2.jpg": (None, None)}


def test_the_beginning_of_names_lists_what_begins_so(workspace: Folder, tmp_path: Path):
    write(tmp_path / "i", "img_1.jpg", "img_2.jpg", "other.jpg", "img_more/3.jpg")
    assert rows(workspace, tmp_path / "i" / "img_") == {
        "img_1.jpg": (None, None),
        "img_2.jpg": (None, None),
        "img_more/3.jpg": ("img_more", None),
    }
    assert set(rows(workspace, tmp_path / "i" / "other.jpg")) == {"other.jpg"}


def test_the_workspace_is_not_among_its_images(tmp_path: Path):
    write(tmp_path, "a/1.jpg", "ws/models/m/1/golden/2.jpg", "wsx/3.jpg")
    workspace = Folder(f"{tmp_path}/ws")
    assert set(rows(workspace, tmp_path)) == {"a/1.jpg", "wsx/3.jpg"}
    with pytest.raises(ConfigurationError, match="is the workspace itself"):
        freeze(workspace, workspace.uri)
    assert set(rows(workspace, tmp_path / "ws" / "models")) == {"m/1/golden/2.jpg"}


def test_a_name_that_is_not_utf8_is_listed_and_fails_alone(workspace: Folder, images: Path):
    odd = os.fsencode(images) + b"/daisy/\xff.jpg"
    Path(os.fsdecode(odd)).write_bytes(b"odd")
    assert "daisy/\ufffd.jpg" in rows(workspace, images)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none/", "there is no folder .*/none"),
        ("none/below", "there is no folder .*/none/below"),
        ("none", "there is no such folder or file as .*/none, and no image"),
        ("text/readme.txt", "readme.txt is neither.* folder, .* .csv, .jsonl, .ndjson, .parquet"),
        ("none.csv", "there is no file .*none.csv"),
        ("empty", "no images in .*/empty"),
        ("text", "no images in .*/text.*jpg"),
    ],
)
def test_what_is_not_there_or_holds_no_images_is_named(
    workspace: Folder, tmp_path: Path, name: str, message: str
):
    (tmp_path / "empty").mkdir()
    write(tmp_path, "text/readme.txt")
    assert re.search(message, refused(workspace, f"{tmp_path}/{name}"))


def test_a_workspace_that_cannot_be_written_is_named(images: Path, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    for root in (f"{tmp_path}/file/workspace", "/proc/workspace"):
        with pytest.raises(StorageError, match=f"cannot write {root}/.*choose a folder"):
            freeze(Folder(root), str(images))


def test_a_list_names_images_relative_to_itself(workspace: Folder, images: Path):
    lines = [
        "uri,label,split,weight",
        "daisy/a.jpg,one/two,val,0.5",
        f"{images}/rose red/c.jpeg,,,",
        "./daisy/../daisy/deep/er/b.PNG,three,,",
    ]
    (images / "list.csv").write_text("\n".join(lines))
    manifest = freeze(workspace, f"{images}/list.csv")
    found = load(workspace, manifest.id).to_pylist()
    assert manifest.source == f"{images}/list.csv"
    assert [(r["uri"], r["label"], r["split"], r["weight"], r["size"]) for r in found] == [
        (f"{images}/daisy/a.jpg", "one/two", "validation", 0.5, 7),
        (f"{images}/daisy/deep/er/b.PNG", "three", None, None, 7),
        (f"{images}/rose red/c.jpeg", None, None, None, 7),
    ]


def test_what_a_list_names_but_is_not_there_stays_in_the_manifest(workspace: Folder, images: Path):
    (images / "list.csv").write_text("uri\ndaisy/a.jpg\ndaisy/none.jpg\ndaisy\n")
    found = load(workspace, freeze(workspace, f"{images}/list.csv").id).to_pylist()
    assert [(r["uri"].rpartition("/")[2], r["size"], r["etag"] == "") for r in found] == [
        ("daisy", 0, True),
        ("a.jpg", 7, False),
        ("none.jpg", 0, True),
    ]
    assert found[2]["modified"] is None


def test_a_list_of_which_nothing_exists_is_refused(workspace: Folder, images: Path):
    (images / "list.csv").write_text("uri\nelse/a.jpg\n")
    assert "none of the 1 images" in refused(workspace, images / "list.csv")


def test_the_same_image_twice_is_one_row_unless_the_lines_disagree(workspace: Folder, images: Path):
    (images / "l.csv").write_text(f"uri,label\ndaisy/a.jpg,x\n{images}/daisy/a.jpg,x\n")
    assert freeze(workspace, f"{images}/l.csv").objects == 1
    (images / "l2.csv").write_text("uri,label\ndaisy/a.jpg,x\ndaisy//a.jpg,y\n")
    with pytest.raises(ConfigurationError, match=r"lines 2 and 3 give .*daisy/a.jpg two labels"):
        freeze(workspace, f"{images}/l2.csv")
    (images / "l3.csv").write_text("uri,split\ndaisy/a.jpg,train\ndaisy/a.jpg,test\n")
    with pytest.raises(ConfigurationError, match="two splits, 'train' and 'test'"):
        freeze(workspace, f"{images}/l3.csv")


def test_a_mistake_in_a_list_names_file_and_line(workspace: Folder, images: Path):
    (images / "list.csv").write_text("uri\ndaisy/a.jpg\nhttp://host/x.jpg\n")
    assert f"{images}/list.csv, line 3: " in refused(workspace, images / "list.csv")


@pytest.mark.slow
def test_a_bucket_and_lists_of_it_are_frozen_in_a_bucket(s3: Any, tmp_path: Path):
    bucket = s3.bucket()
    workspace = Folder(f"{bucket}/work space")
    pictures = Folder(bucket)
    names = [f"cats/{i:04d} é%2B.jpg" for i in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: pictures.write(name, b"cat"), names))
    pictures.write("dogs/a+b.png", b"dog")
    manifest = freeze(workspace, bucket)
    table = load(workspace, manifest.id)
    assert table["uri"].to_pylist() == sorted(f"{bucket}/{n}" for n in [*names, "dogs/a+b.png"])
    assert set(table["label"].to_pylist()) == {"cats", "dogs"}
    row = table.slice(1100).to_pylist()[0]
    assert read_object(row["uri"], row["etag"]) == b"dog"
    assert freeze(workspace, bucket) == manifest

    assert freeze(workspace, f"{bucket}/cats/000").objects == 10
    assert freeze(workspace, f"{bucket}/dogs/a+b.png").objects == 1

    pictures.write("list.csv", "\n".join(["uri", *names, "dogs/none.jpg"]).encode())
    listed = load(workspace, freeze(workspace, f"{bucket}/list.csv").id).to_pylist()
    etags = {row["uri"]: row["etag"] for row in table.to_pylist()}
    assert {row["uri"]: row["etag"] for row in listed if row["size"]} == {
        f"{bucket}/{name}": etags[f"{bucket}/{name}"] for name in names
    }
    assert [row["uri"] for row in listed if not row["size"]] == [f"{bucket}/dogs/none.jpg"]

    (tmp_path / "few.csv").write_text(f"uri\n{bucket}/dogs/a+b.png\n{bucket}/none.jpg\n")
    few = load(workspace, freeze(workspace, f"{tmp_path}/few.csv").id).to_pylist()
    assert [row["size"] for row in few] == [3, 0]


@pytest.mark.slow
def test_many_wanted_of_very_many_objects_are_described_without_listing_all(s3: Any, monkeypatch):
    bucket = s3.bucket()
    folder = Folder(bucket)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: folder.write(f"{i:05d}.jpg", b"x"), range(2100)))
    monkeypatch.setattr("linnaeus.manifests.file_source._LISTED_PER_WANTED", 1)
    wanted = [f"{bucket}/{i:05d}.jpg" for i in range(1050, 2100)] + [f"{bucket}/none.jpg"]
    found = describe_objects(wanted)
    assert [bool(entry.etag) for entry in found] == [True] * 1050 + [False]


@pytest.mark.parametrize("keys", [["a//b/1.jpg", "a//b/2.jpg"], ["/a/1.jpg", "/a/2.jpg"]])
def test_objects_under_odd_keys_are_found_by_listing(monkeypatch, keys):
    """The test server knows no empty path segments."""

    def stored(_, prefix):
        below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        return (replace(absent(key), size=7) for key in keys if key.startswith(below))

    monkeypatch.setattr(Folder, "list", stored)
    monkeypatch.setattr("linnaeus.manifests.file_source.PAGE_KEYS", 1)
    found = describe_objects([f"s3://bucket/{key}" for key in keys])
    assert [entry.size for entry in found] == [7, 7]


@pytest.mark.slow
def test_a_bucket_that_is_wrong_or_closed_is_named(s3: Any, monkeypatch, workspace: Folder):
    with pytest.raises(StorageError, match="no bucket s3://no-such-bucket"):
        freeze(workspace, "s3://no-such-bucket/images")
    bucket = s3.bucket()
    assert f"no such folder or file as {bucket}/images" in refused(workspace, f"{bucket}/images")
    assert f"no images in {bucket}/images" in refused(workspace, f"{bucket}/images/")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match="access denied"):
        freeze(workspace, bucket)
    list_file = Path(workspace.uri).parent / "list.csv"
    list_file.write_text(f"uri\n{bucket}/a.jpg\n")
    with pytest.raises(StorageError, match="access denied"):
        freeze(workspace, str(list_file))


@pytest.mark.slow
def test_pages_that_repeat_a_key_give_one_row(
    s3: Any, workspace: Folder, monkeypatch: pytest.MonkeyPatch
):
    bucket = s3.bucket()
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg"):
        Folder(bucket).write(name, b"picture")
    once = load(workspace, freeze(workspace, bucket).id)
    pages = Bucket.pages

    def twice(self: Bucket, folder: str = "", after: str | None = None) -> Any:
        for page in pages(self, folder, after):
            yield page
            yield page

    monkeypatch.setattr(Bucket, "pages", twice)
    again = freeze(workspace, bucket)
    assert (again.number, again.objects) == (1, 3)
    assert load(workspace, again.id).equals(once)
