from __future__ import annotations

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from linnaeus.errors import FailureCode, StorageError
from linnaeus.images import IMAGE_SUFFIXES
from linnaeus.manifests import is_hidden, listing
from linnaeus.manifests.listing import between
from linnaeus.storage import Bucket, Entry, Folder, read_object

parts = st.text("ab.-_ %é", min_size=1, max_size=3).filter(lambda part: part not in {".", ".."})
suffixes = st.sampled_from([".jpg", ".JPeG", ".png", ".txt", ".jpg.txt", ""])
keys = st.builds(
    lambda folders, name, suffix: "/".join([*folders, name + suffix]),
    st.lists(parts, max_size=3),
    parts,
    suffixes,
).filter(lambda key: not key.endswith(("/.", "/..")) and key not in {".", ".."})


def without_clashes(candidates: set[str]) -> set[str]:
    """Drop keys that are a folder of another key: no file system has both."""
    return {k for k in candidates if not any(other.startswith(f"{k}/") for other in candidates)}


def images_among(candidates: set[str], start: str = "", skip: str | None = None) -> set[str]:
    """Say by brute force what `list_images` must find."""
    return {
        key
        for key in candidates
        if key.lower().endswith(IMAGE_SUFFIXES)
        and not any(part[0] in "._" for part in key.split("/"))
        and key.startswith(start)
        and not (skip is not None and (key + "/").startswith(skip + "/"))
    }


def write_local(root: Path, candidates: set[str]) -> None:
    for key in candidates:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(key.encode())


def put_all(server: Any, uri: str, candidates: set[str]) -> None:
    client, bucket = server.client(), uri.removeprefix("s3://")
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda key: client.put_object(Bucket=bucket, Key=key, Body=key.encode()), candidates
            )
        )


def list_images(root: Folder, start: str = "", skip: str | None = None) -> list[Entry]:
    pages = listing.list_images(root, start, skip)
    return [Entry(**row) for page in pages for row in page.to_pylist()]


def keys_of(entries: list[Entry]) -> list[str]:
    return sorted(entry.key for entry in entries)


@settings(max_examples=60, deadline=None)
@given(st.sets(keys, max_size=15), st.sampled_from(["", "a", "é", "a "]))
def test_a_local_tree_is_listed_as_by_hand(candidates: set[str], start: str):
    tree = without_clashes(candidates)
    with TemporaryDirectory() as root:
        write_local(Path(root), tree)
        found = list_images(Folder(root), start)
        walked = {
            os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118
            for folder, _, files in os.walk(root)
            for name in files
        }
        assert walked == tree
        assert keys_of(found) == sorted(images_among(tree, start))
        for entry in found:
            assert read_object(f"{root}/{entry.key}", entry.etag) == entry.key.encode()


@pytest.mark.slow
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sets(keys, max_size=12), st.sampled_from(["", "a", "é", "a "]))
@example({"a/b.jpg", "a.jpg", "b.jpg"}, "a")
def test_a_bucket_is_listed_as_by_hand(s3: Any, candidates: set[str], start: str):
    uri, tree = s3.bucket(), without_clashes(candidates)
    put_all(s3, uri, tree)
    found = list_images(Folder(uri), start)
    assert keys_of(found) == sorted(images_among(tree, start))
    for entry in found:
        assert read_object(f"{uri}/{entry.key}", entry.etag) == entry.key.encode()


@pytest.fixture(scope="module")
def large(s3_server: Any) -> tuple[str, set[str]]:
    """A bucket with a flat folder of three pages, a mixed one, and a deep one."""
    flat = {f"flat/img_{i:05d}.jpg" for i in range(2500)} | {"flat/zoo.jpg", "flat/Ähre.jpg"}
    mixed = {f"mixed/f{i:05d}.jpg" for i in range(1200)} | {
        f"mixed/{folder}/{i}.jpg" for folder in ("aa", "f00500", "zz") for i in range(20)
    }
    mixed |= {"mixed/f00500.5.jpg", "mixed/f00500-x.jpg"}
    deep = {f"deep/{i % 7}/x/{i}.jpg" for i in range(1100)}
    found = flat | mixed | deep | {"top.jpg", "flat.jpg"}
    uri = s3_server.bucket()
    put_all(s3_server, uri, found)
    return uri, found


@pytest.mark.slow
@pytest.mark.parametrize("below", ["", "flat", "mixed", "deep", "flat/none"])
def test_large_folders_of_every_shape_are_listed_whole(
    s3: Any, large: tuple[str, set[str]], below: str
):
    uri, tree = large
    start = f"{below}/" if below else ""
    expected = sorted(key[len(start) :] for key in tree if key.startswith(start))
    assert keys_of(list_images(Folder(f"{uri}/{below}"))) == expected


@pytest.mark.slow
@pytest.mark.parametrize("start", ["f", "flat", "flat/img_01", "flat/img_00499", "mixed/f005", "x"])
def test_the_beginning_of_a_name_lists_what_begins_so(
    s3: Any, large: tuple[str, set[str]], start: str
):
    uri, tree = large
    folder, _, name = start.rpartition("/")
    keep = f"{folder}/" if folder else ""
    expected = sorted(key[len(keep) :] for key in tree if key.startswith(start))
    assert keys_of(list_images(Folder(f"{uri}/{folder}"), name)) == expected


@pytest.mark.slow
def test_a_sub_folder_can_be_left_out(s3: Any, large: tuple[str, set[str]]):
    uri, tree = large
    assert keys_of(list_images(Folder(uri), skip="flat")) == sorted(images_among(tree, skip="flat"))


@pytest.mark.slow
def test_a_flat_folder_is_listed_by_several_requests_at_once(
    s3: Any, monkeypatch, large: tuple[str, set[str]]
):
    running, most, lock = 0, 0, threading.Lock()
    pages = Bucket.pages

    def slowly(self: Bucket, folder: str = "", after: str | None = None) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return pages(self, folder, after)

    monkeypatch.setattr(Bucket, "pages", slowly)
    assert len(list_images(Folder(f"{large[0]}/flat"))) == 2502
    assert most > 1


@pytest.mark.slow
def test_a_key_that_obstore_refuses_costs_no_other_key(s3: Any):
    uri = s3.bucket()
    tree = {"a/x.jpg", "a/new\nline.jpg", "b/y.jpg", "top\x01.jpg"}
    put_all(s3, uri, tree)
    found = list_images(Folder(uri))
    assert keys_of(found) == sorted(tree)
    for entry in found:
        assert read_object(f"{uri}/{entry.key}", entry.etag) == entry.key.encode()


@given(st.text(max_size=6), st.text(max_size=6))
def test_a_key_between_two_lies_between_them(one: str, other: str):
    low, high = sorted((one, other))
    middle = between(low, high + "~")
    assert middle is None or low < middle < high + "~"


def test_ranges_are_cut_about_half_way_and_until_no_key_is_left():
    assert between("img_000.jpg", "img_999.jpg") == "img_4"
    assert between("a", "a\x00") is None
    assert between("a-", "a1") not in {"a.", "a/", None}
    low, high = "img_0", "img_9"
    for _ in range(200):
        middle = between(low, high)
        if middle is None:
            break
        assert not middle.endswith(("/", "."))
        high = middle
    assert middle is None


def test_hidden_folders_and_files_are_not_images(tmp_path: Path):
    tree = {".x/a.jpg", "_x/a.jpg", "a/_b.jpg", "a/.b.jpg", "a/b_.c.jpg", "a/b.jpg~"}
    write_local(tmp_path, tree)
    assert keys_of(list_images(Folder(str(tmp_path)))) == ["a/b_.c.jpg"]
    assert is_hidden("a/_b/c")
    assert not is_hidden("a/b_c")


def test_a_link_that_leads_nowhere_is_listed_and_fails_when_read(tmp_path: Path):
    write_local(tmp_path, {"good.jpg"})
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "gone.jpg").symlink_to(os.fsdecode(b"\xff"))
    found = {entry.key: entry for entry in list_images(Folder(str(tmp_path)))}
    assert set(found) == {"good.jpg", "loop.jpg", "gone.jpg"}
    assert found["gone.jpg"].etag == ""
    with pytest.raises(StorageError) as raised:
        read_object(f"{tmp_path}/gone.jpg", "")
    assert raised.value.code is FailureCode.NOT_FOUND
    assert "a link that leads nowhere" in str(raised.value)


def test_reading_a_name_that_is_not_utf8_says_so(tmp_path: Path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).touch()
    [listed] = keys_of(list_images(Folder(str(tmp_path))))
    with pytest.raises(StorageError, match="if its name is not UTF-8, rename it") as raised:
        read_object(f"{tmp_path}/{listed}", "")
    assert raised.value.code is FailureCode.NOT_FOUND


def test_linked_folders_are_listed_too(tmp_path: Path):
    write_local(tmp_path, {"elsewhere/x.jpg"})
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cats").symlink_to(tmp_path / "elsewhere")
    assert keys_of(list_images(Folder(f"{tmp_path}/images"))) == ["cats/x.jpg"]


@pytest.mark.parametrize("within", [True, False])
def test_folders_linked_to_each_other_are_walked_once_each_by_the_same_way(tmp_path, within):
    (tmp_path / "images").mkdir()
    home = tmp_path / "images" if within else tmp_path / "elsewhere"
    names = [f"n{number}" for number in range(8)]
    write_local(home, {f"{name}/{name}.jpg" for name in names})
    for one in names:
        for other in names:
            (home / one / f"to-{other}").symlink_to(home / other)
    if not within:
        for name in names[2:]:
            (tmp_path / "images" / f"link-{name}").symlink_to(home / name)
    found = sorted(keys_of(list_images(Folder(f"{tmp_path}/images"))))
    if within:
        assert found == [f"{name}/{name}.jpg" for name in names]
        return
    ways = {name: f"link-{name}" for name in names[2:]}
    ways |= {name: f"link-n2/to-{name}" for name in names[:2]}
    assert found == sorted(f"{way}/{name}.jpg" for name, way in ways.items())
    assert sorted(entry.key for entry in Folder(f"{tmp_path}/images").list()) == found


@pytest.mark.soak
@pytest.mark.slow
def test_a_hundred_thousand_local_files_take_seconds(tmp_path: Path):
    for label in range(100):
        (tmp_path / f"{label}").mkdir()
        for i in range(1000):
            (tmp_path / f"{label}" / f"{i}.jpg").touch()
    started = time.monotonic()
    assert len(list_images(Folder(str(tmp_path)))) == 100_000
    assert time.monotonic() - started < 10  # 1 s on an idle machine
    shutil.rmtree(tmp_path)


def test_threads_are_not_needed_for_the_result(monkeypatch, tmp_path: Path):
    tree = {f"{a}/{b}/{c}.jpg" for a in range(4) for b in range(4) for c in range(4)}
    write_local(tmp_path, tree)
    many = keys_of(list_images(Folder(str(tmp_path))))
    monkeypatch.setattr(listing, "_LOCAL_THREADS", 1)
    assert keys_of(list_images(Folder(str(tmp_path)))) == many == sorted(tree)
