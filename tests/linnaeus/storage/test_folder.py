from __future__ import annotations

import errno
import io
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from linnaeus.errors import ConfigurationError, FailureCode, StorageError
from linnaeus.storage import Entry, Folder, is_local, join, normalise, read_object

ODD_KEYS = [
    "a b.jpg",
    "a%20b.jpg",
    "a+b.jpg",
    "a#b?c&d.jpg",
    "tilde~.jpg",
    "ünï/cödé.jpg",
    "e\u0301.jpg",
    "日本/猫.jpg",
    "new\nline.jpg",
]


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return Folder(str(tmp_path / "some folder é"))
    return Folder(request.getfixturevalue("s3").bucket() + "/some folder é")


def code_of(call: Callable[[], Any]) -> FailureCode:
    with pytest.raises(StorageError) as raised:
        call()
    assert "\n" not in str(raised.value)
    return raised.value.code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a/b/", "/a/b"),
        ("/a/./c/../b", "/a/b"),
        ("//a", "/a"),
        ("file:///a/b", "/a/b"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/k/", "s3://bucket/k"),
        ("gs://b/a b%20", "gs://b/a b%20"),
        ("az://c/x", "az://c/x"),
    ],
)
def test_a_location_is_absolute_and_has_no_trailing_slash(text: str, expected: str):
    assert normalise(text) == expected
    assert normalise(expected) == expected


def test_a_relative_path_starts_in_the_working_folder(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert normalise("./x") == normalise("x") == f"{tmp_path}/x"


@pytest.mark.parametrize("text", ["", "http://host/x", "s3://", "s3:///"])
def test_a_name_that_is_no_location_is_refused_in_one_line(text: str):
    with pytest.raises(ConfigurationError) as raised:
        normalise(text)
    assert "\n" not in str(raised.value)


def test_parts_are_joined_by_one_slash():
    assert join("s3://b/", "x", "", "y/z") == "s3://b/x/y/z"
    assert join("/", "x") == "/x"
    assert is_local("/x")
    assert not is_local("s3://b")


def test_what_is_written_is_read_back_and_listed(folder: Folder):
    folder.write("a/b.txt", b"one")
    folder.write("a/c/d.txt", b"three")
    folder.write("e.txt", b"")
    assert folder.read("a/c/d.txt") == b"three"
    assert {entry.key: entry.size for entry in folder.list()} == {
        "a/b.txt": 3,
        "a/c/d.txt": 5,
        "e.txt": 0,
    }
    assert {entry.key for entry in folder.list("a")} == {"a/b.txt", "a/c/d.txt"}
    assert folder.folders() == ["a"]
    assert folder.folders("a") == ["c"]
    assert list(folder.list("nowhere")) == []
    assert folder.folders("nowhere") == []


def test_a_prefix_means_whole_path_segments(folder: Folder):
    folder.write("ab/x", b"1")
    assert list(folder.list("a")) == []


def test_a_range_ends_before_its_end(folder: Folder):
    folder.write("x", b"0123456789")
    assert folder.read_range("x", 2, 5) == b"234"


def test_an_opened_object_is_read_in_pieces(folder: Folder):
    data = os.urandom(1_000_000)
    folder.write("x", data)
    with folder.open("x") as file:
        file.seek(-10, os.SEEK_END)
        assert file.read() == data[-10:]
        file.seek(300_000)
        assert file.read(500_000) == data[300_000:800_000]
    assert code_of(lambda: folder.open("none")) is FailureCode.NOT_FOUND


def test_write_replaces_and_write_new_does_not(folder: Folder):
    assert folder.write_new("x", b"first")
    assert not folder.write_new("x", b"second")
    assert folder.read("x") == b"first"
    folder.write("x", b"third")
    assert folder.read("x") == b"third"
    assert [entry.key for entry in folder.list()] == ["x"]


def test_a_local_file_is_written_once_and_copied_back(folder: Folder, tmp_path: Path):
    data = os.urandom(20 << 20)  # more than one piece
    for name, content in (("large", data), ("other", b"other")):
        (tmp_path / name).write_bytes(content)
    assert folder.write_new_file("a/file", tmp_path / "large")
    assert not folder.write_new_file("a/file", tmp_path / "other")
    folder.copy_to("a/file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    assert code_of(lambda: folder.copy_to("none", tmp_path / "copy")) is FailureCode.NOT_FOUND


def test_one_of_many_writers_at_once_wins(folder: Folder):
    with ThreadPoolExecutor(16) as pool:
        written = list(pool.map(lambda i: folder.write_new("claim", b"%d" % i), range(16)))
    assert written.count(True) == 1
    assert folder.read("claim") == b"%d" % written.index(True)


def test_a_reader_never_sees_half_a_write(folder: Folder):
    values = [bytes([i]) * 200_000 for i in range(20)]
    folder.write("x", values[0])
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(lambda: [folder.write("x", value) for value in values])
        while not writer.done():
            assert folder.read("x") in values
        writer.result()


def test_reading_another_version_than_was_listed_is_changed(folder: Folder):
    folder.write("x", b"one")
    (entry,) = folder.list()
    assert folder.head("x") == entry
    assert folder.read("x", entry.etag) == read_object(folder.uri_of("x"), entry.etag) == b"one"
    folder.write("x", b"two")
    assert code_of(lambda: folder.read("x", entry.etag)) is FailureCode.CHANGED
    assert code_of(lambda: read_object(folder.uri_of("x"), entry.etag)) is FailureCode.CHANGED
    assert '"' not in entry.etag


def test_what_was_absent_when_it_was_listed_is_changed_when_it_is_there(folder: Folder):
    assert code_of(lambda: folder.read("x", "")) is FailureCode.NOT_FOUND
    folder.write("x", b"1")
    assert code_of(lambda: folder.read("x", "")) is FailureCode.CHANGED


def test_what_is_not_there_is_not_found(folder: Folder):
    assert folder.head("none") is None
    assert code_of(lambda: folder.read("none")) is FailureCode.NOT_FOUND
    assert code_of(lambda: read_object(folder.uri_of("none"), None)) is FailureCode.NOT_FOUND
    folder.delete("none")


def test_a_deleted_object_is_gone(folder: Folder):
    folder.write("x", b"1")
    folder.delete("x")
    assert folder.head("x") is None


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_are_listed_and_read_as_written(folder: Folder, key: str, request):
    if is_local(folder.uri):
        folder.write(key, b"odd")
    else:
        bucket, _, prefix = folder.uri.removeprefix("s3://").partition("/")
        client = request.getfixturevalue("s3").client()
        client.put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=b"odd")
    (entry,) = folder.list()
    assert entry.key == key
    with folder.open(key) as file:
        assert file.read() == b"odd"
    assert folder.read(key, entry.etag) == b"odd"
    assert read_object(folder.uri_of(key), entry.etag) == b"odd"
    assert folder.head(key) == entry


def test_a_tree_is_uploaded_and_downloaded_whole(folder: Folder, tmp_path: Path):
    tree = {"a": b"1", "b/c": b"2", "b/d/e f": b"3" * 100_000}
    for name, data in tree.items():
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(data)
    folder.upload(tmp_path / "from", "trees/one", last=["b/c", "a"])
    assert [e.key for e in sorted(folder.list("trees/one"), key=lambda e: e.key)] == [
        f"trees/one/{name}" for name in sorted(tree)
    ]
    folder.download("trees/one", tmp_path / "to")
    assert {name: (tmp_path / "to" / name).read_bytes() for name in tree} == tree
    assert code_of(lambda: folder.download("none", tmp_path / "to")) is FailureCode.NOT_FOUND


def test_the_files_named_last_are_uploaded_last(tmp_path: Path):
    for name in ("z", "y", "m/x", "done", "ready"):
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(b"1")
    written = []

    class Recording(Folder):
        def write(self, key: str, data: bytes) -> None:
            super().write(key, data)
            written.append(key)

    Recording(str(tmp_path / "to")).upload(tmp_path / "from", "x", last=["ready", "done"])
    assert set(written[:3]) == {"x/z", "x/y", "x/m/x"}
    assert written[3:] == ["x/ready", "x/done"]


def test_a_folder_is_picklable_and_shared_by_threads(folder: Folder):
    copy = pickle.loads(pickle.dumps(folder))
    assert copy == folder
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda i: copy.write(f"{i}", b"%d" % i), range(100)))
        assert list(pool.map(lambda i: folder.read(f"{i}"), range(100))) == [
            b"%d" % i for i in range(100)
        ]


def test_a_file_that_is_written_in_pieces_is_there_when_it_is_whole(folder: Folder):
    folder.write("x", b"before")
    with folder.writing("x") as file:
        file.write(b"one, ")
        assert folder.read("x") == b"before"
        file.write(b"two" * 3_000_000)
        assert file.tell() == 9_000_005
    assert folder.read("x") == b"one, " + b"two" * 3_000_000


def test_a_file_whose_writer_fails_stays_as_it_was(folder: Folder):
    folder.write("x", b"before")
    with pytest.raises(KeyError), folder.writing("x") as file:
        file.write(b"half")
        raise KeyError
    assert folder.read("x") == b"before"
    assert [entry.key for entry in folder.list()] == ["x"]


def test_only_what_killed_writes_left_is_swept(tmp_path: Path):
    folder = Folder(str(tmp_path))
    kept = ["photo.partial", ".my.partial", "below/.0011223344556677.partial"]
    for name in (*kept, ".0011223344556677.partial", ".ffeeddccbbaa9988.partial"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with folder.writing("x") as file:
        file.write(b"whole")
        folder.sweep()
    assert folder.read("x") == b"whole"
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.partial")}
    assert found == set(kept)


def test_a_delta_table_lies_in_a_folder(folder: Folder):
    uri, options = folder.delta()
    write_deltalake(uri, pa.table({"n": [1, 2]}), storage_options=options)
    assert DeltaTable(uri, storage_options=options).to_pyarrow_table().num_rows == 2
    assert any(entry.key.startswith("_delta_log/") for entry in folder.list())


def test_a_table_root_that_delta_rs_misreads_is_refused():
    with pytest.raises(ConfigurationError, match="%20"):
        Folder("s3://bucket/a%20b").delta()


def test_a_long_name_is_written(tmp_path: Path):
    name = "é" * 127
    assert Folder(str(tmp_path)).write_new(name, b"1")
    assert [entry.key for entry in Folder(str(tmp_path)).list()] == [name]


def test_part_of_a_local_etag_marks_a_recent_file_but_is_not_compared(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"1")
    (entry,) = Folder(str(tmp_path)).list()
    assert read_object(f"{tmp_path}/x", f"{entry.etag}~123") == b"1"
    assert code_of(lambda: read_object(f"{tmp_path}/x", "other~123")) is FailureCode.CHANGED


def test_a_local_etag_changes_with_content_of_equal_size(tmp_path: Path):
    folder = Folder(str(tmp_path))
    folder.write("x", b"1")
    before = folder.head("x")
    folder.write("x", b"2")
    assert before is not None
    assert folder.head("x") != before


def test_things_that_are_no_files_fail_at_once(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("none")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "loop", "dangling", "pipe", "x" * 300, "nul\0"):
        assert code_of(lambda name=name: read_object(f"{tmp_path}/{name}", None)) is (
            FailureCode.NOT_FOUND
        )


def test_a_file_that_would_not_fit_into_memory_is_too_large_unread(tmp_path: Path):
    with (tmp_path / "x").open("wb") as file:
        file.truncate(1 << 40)
    assert code_of(lambda: read_object(str(tmp_path / "x"), None)) is FailureCode.TOO_LARGE


def test_a_file_that_may_not_be_read_is_access_denied(monkeypatch, tmp_path: Path):
    (tmp_path / "x").write_bytes(b"1")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # the tests may run as root, who may read everything
    assert code_of(lambda: read_object(f"{tmp_path}/x", None)) is FailureCode.ACCESS_DENIED


def test_links_that_lead_back_are_not_followed_for_ever(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    assert {entry.key for entry in Folder(str(tmp_path)).list()} == {"a/x"}


@pytest.mark.parametrize("root", ["/proc/linnaeus", "{tmp}/file/below"])
def test_a_local_folder_that_cannot_be_written_says_so(root: str, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    folder = Folder(root.format(tmp=tmp_path))
    for write in (folder.write, folder.write_new):
        with pytest.raises(StorageError, match=r"cannot write .*choose a folder"):
            write("x", b"1")


@pytest.mark.slow
def test_a_missing_bucket_is_named(s3: Any):
    folder = Folder("s3://no-such-bucket/x")
    for call in (
        lambda: list(folder.list()),
        lambda: folder.read("x"),
        lambda: folder.write_new("x", b"1"),
        folder.folders,
    ):
        with pytest.raises(StorageError, match="no bucket s3://no-such-bucket: check") as raised:
            call()
        assert raised.value.code is FailureCode.NOT_FOUND


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "nobody")],
)
def test_wrong_credentials_are_access_denied(s3: Any, monkeypatch, name: str, value: str):
    folder = Folder(s3.bucket())
    folder.write("x", b"1")
    monkeypatch.setenv(name, value)
    for call in (
        lambda: list(folder.list()),
        lambda: folder.read("x"),
        lambda: folder.head("x"),
        lambda: folder.write("x", b"1"),
    ):
        with pytest.raises(StorageError, match=r"access denied.*check the credentials") as raised:
            call()
        assert raised.value.code is FailureCode.ACCESS_DENIED


@pytest.mark.slow
def test_a_valid_user_without_rights_is_access_denied(s3: Any, monkeypatch):
    folder = Folder(s3.bucket())
    folder.write("x", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stranger")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "stranger-secret")
    assert code_of(lambda: folder.read("x")) is FailureCode.ACCESS_DENIED


@pytest.mark.slow
def test_credentials_come_from_boto3_where_the_environment_has_none(
    s3: Any, monkeypatch, tmp_path: Path
):
    bucket = s3.bucket()
    profile = tmp_path / "credentials"
    profile.write_text(
        "[default]\naws_access_key_id = linnaeus\naws_secret_access_key = linnaeus-secret\n"
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    folder = Folder(bucket)
    folder.write("x", b"1")
    assert folder.read("x") == b"1"
    uri, options = Folder(f"{bucket}/table").delta()
    write_deltalake(uri, pa.table({"n": [1]}), storage_options=options)


def test_no_credentials_at_all_is_one_line(monkeypatch, tmp_path: Path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="no AWS credentials: set AWS_ACCESS_KEY_ID"):
        Folder("s3://bucket").read("x")


@pytest.mark.slow
def test_a_dead_endpoint_fails_within_twenty_seconds_in_one_line(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    started = time.monotonic()
    with pytest.raises(StorageError, match=f"no answer from {endpoint}: check") as raised:
        Folder("s3://bucket").read("x")
    assert raised.value.code is FailureCode.TIMEOUT
    assert "\n" not in str(raised.value)
    assert time.monotonic() - started < 22


def test_an_endpoint_that_is_no_address_is_refused(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(ConfigurationError, match="AWS_ENDPOINT_URL=localhost:9000: must begin"):
        Folder("s3://bucket").read("x")


class Hostile(Folder):
    """A bucket of somebody who chose its keys, which S3 lets be anything."""

    def __init__(self, *keys: str) -> None:
        super().__init__("s3://bucket")
        self.keys = keys

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return (Entry(key, 1, "", datetime.now(UTC)) for key in self.keys)

    def open(self, key: str) -> IO[bytes]:
        return io.BytesIO(b"1")


@pytest.mark.parametrize("name", ["../../escaped", "a/../../escaped", "..", "nul\0"])
def test_a_key_that_leads_out_of_a_folder_is_refused_before_anything_is_copied(
    tmp_path: Path, name: str
):
    to = tmp_path / "deep" / "to"
    code = code_of(lambda: Hostile("m/1/fine", f"m/1/{name}").download("m/1", to))
    assert code is FailureCode.NOT_FOUND
    assert list(tmp_path.rglob("*")) == []


def test_keys_with_points_slashes_and_backslashes_that_stay_inside_are_copied(tmp_path: Path):
    names = ["a..b", "...", "/abs", "c\\..\\d"]
    Hostile(*(f"m/{name}" for name in names)).download("m", tmp_path / "to")
    assert {one.name for one in (tmp_path / "to").iterdir()} == {"a..b", "...", "abs", "c\\..\\d"}


def test_objects_that_stand_for_folders_are_not_copied(tmp_path: Path):
    Hostile("m/a", "m/a/x", "m/b/", "m/b/y").download("m", tmp_path / "to")
    assert {e.key for e in Folder(str(tmp_path / "to")).list()} == {"a/x", "b/y"}


def test_no_local_key_leads_out_of_its_folder(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"1")
    folder = Folder(str(tmp_path / "folder"))
    folder.write("x", b"1")
    for key in ("../secret", "x/../../secret", "nul\0"):
        for call in (folder.read, folder.open, folder.delete, lambda k: folder.write(k, b"2")):
            assert code_of(lambda call=call, key=key: call(key)) is FailureCode.NOT_FOUND
        assert folder.head(key) is None
    assert (tmp_path / "secret").read_bytes() == b"1"
