"""The folder that a model server polls never shows half a version, whatever happens meanwhile."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from linnaeus.errors import StorageError
from linnaeus.models import DESCRIPTION, Model, ModelBackbone
from linnaeus.storage import Entry, Folder
from serving import model_mirror
from serving.model_mirror import INCOMING, Change, Mirror, is_healthy, main

MODEL = Model("flowers", 1, ("a", "b"), ModelBackbone("pixels@8", "0123", 8, 8, 192))
FILES = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": b"w" * 100_000,
    "assets.extra/tf_serving_warmup_requests": b"warm",
}
DIES = """
import os, signal, sys
from linnaeus.storage import Folder
from serving import model_mirror
copy = Folder.copy_to
left = [2]
def copy_two(*arguments):
    copy(*arguments)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
Folder.copy_to = copy_two
sys.exit(model_mirror.main())
"""


def publish(workspace: Folder, version: int) -> None:
    model = replace(MODEL, version=version)
    for name, data in FILES.items():
        workspace.write(f"{model.prefix}/{name}", data)
    workspace.write(f"{model.prefix}/{DESCRIPTION}", model.to_json().encode())


def shown(folder: Path) -> list[int]:
    """What TensorFlow Serving sees: folders with a number for a name, each of which is whole."""
    found = [path for path in folder.iterdir() if path.name.isdigit()]
    for path in found:
        files = {str(one.relative_to(path)): one.read_bytes() for one in walk(path)}
        assert json.loads(files.pop(DESCRIPTION))["version"] == int(path.name)
        assert files == FILES
    return sorted(int(path.name) for path in found)


def walk(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def hidden(folder: Path) -> list[Path]:
    return walk(folder / INCOMING)


@pytest.fixture
def mirror(workspace: Folder, tmp_path: Path) -> Mirror:
    return Mirror(workspace, "flowers", tmp_path / "served")


def arguments(mirror: Mirror, *more: str) -> list[str]:
    where = [f"--workspace={mirror.workspace.uri}", f"--folder={mirror.folder}"]
    return [*where, f"--model={mirror.model}", *more]


def test_the_newest_two_by_number_are_there_and_older_ones_go(mirror: Mirror) -> None:
    for version in (8, 9, 10):
        publish(mirror.workspace, version)
    assert mirror.update() == Change((9, 10), ())
    publish(mirror.workspace, 11)
    assert mirror.update() == Change((11,), (9,))
    assert mirror.update() == Change()
    assert shown(mirror.folder) == [10, 11]
    assert not hidden(mirror.folder)


def test_what_is_not_published_yet_is_not_taken(mirror: Mirror) -> None:
    publish(mirror.workspace, 1)
    mirror.workspace.write("models/flowers/2/saved_model.pb", b"half")
    mirror.update()
    assert shown(mirror.folder) == [1]


def test_a_version_that_is_withdrawn_goes_and_the_one_before_it_returns(mirror: Mirror) -> None:
    for version in (1, 2, 3):
        publish(mirror.workspace, version)
    mirror.update()
    mirror.workspace.delete(f"models/flowers/3/{DESCRIPTION}")
    assert mirror.update() == Change((1,), (3,))
    assert shown(mirror.folder) == [1, 2]


def test_without_any_version_nothing_is_deleted(mirror: Mirror, tmp_path: Path) -> None:
    publish(mirror.workspace, 1)
    mirror.update()
    emptied = replace(mirror, workspace=Folder(str(tmp_path / "elsewhere")))
    with pytest.raises(StorageError, match=r"no version is published in .*elsewhere/models/flow"):
        emptied.update()
    assert shown(mirror.folder) == [1]


def kill_midway(mirror: Mirror) -> None:
    command = [sys.executable, "-c", DIES, *arguments(mirror, "--once")]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert ended.returncode == -9, ended.stderr


def after_a_kill(mirror: Mirror) -> None:
    publish(mirror.workspace, 1)
    mirror.update()
    for version in (2, 3):
        publish(mirror.workspace, version)
    kill_midway(mirror)
    assert shown(mirror.folder) == [1]
    assert hidden(mirror.folder)
    assert mirror.update() == Change((2, 3), (1,))
    assert shown(mirror.folder) == [2, 3]
    assert not hidden(mirror.folder)


def test_a_kill_in_the_middle_shows_nothing_and_the_next_one_does_it_all(mirror: Mirror) -> None:
    after_a_kill(mirror)


@pytest.mark.slow
def test_the_same_from_s3(s3: Any, tmp_path: Path) -> None:
    bucket = s3.bucket()
    workspace = Folder(f"{bucket}/workspace")
    for version in (1, 2, 3):
        for folder in ("", "variables/"):  # as S3's console makes them
            key = f"workspace/models/flowers/{version}/{folder}"
            s3.client().put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"")
    after_a_kill(Mirror(workspace, "flowers", tmp_path / "served"))


@pytest.mark.slow
def test_a_bucket_that_is_gone_is_a_line_and_what_is_served_stays(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Folder(f"{s3.bucket()}/workspace")
    mirror = Mirror(workspace, "flowers", tmp_path / "served")
    publish(workspace, 1)
    assert main(arguments(mirror, "--once")) == 0
    gone = replace(mirror, workspace=Folder("s3://no-such-bucket-anywhere/workspace"))
    assert main(arguments(gone, "--once")) == 1
    assert capsys.readouterr().err.count("\n") == 2
    assert shown(mirror.folder) == [1]


def test_who_looks_all_the_time_sees_whole_versions_only(mirror: Mirror) -> None:
    over = threading.Event()
    seen: dict[str, set[str]] = {}

    def look() -> None:
        while not over.is_set():
            for path in mirror.folder.glob("[0-9]*"):
                try:
                    names = {str(one.relative_to(path)) for one in walk(path)}
                except FileNotFoundError:  # it left meanwhile
                    continue
                if path.exists():
                    seen.setdefault(path.name, names).intersection_update(names)

    watcher = threading.Thread(target=look)
    watcher.start()
    for version in range(1, 8):
        publish(mirror.workspace, version)
        mirror.update()
    over.set()
    watcher.join()
    assert "7" in seen
    assert all(names == {*FILES, DESCRIPTION} for names in seen.values())


def test_what_lies_in_the_way_is_named_and_left(mirror: Mirror, capsys: Any) -> None:
    publish(mirror.workspace, 1)
    (mirror.folder / "1").mkdir(parents=True)
    (mirror.folder / "1" / "mine").write_text("kept")
    assert main(arguments(mirror, "--once")) == 1
    assert "1 is in the way" in capsys.readouterr().err
    assert (mirror.folder / "1" / "mine").read_text() == "kept"


def test_the_workspace_itself_is_no_place_for_it(mirror: Mirror, capsys: Any) -> None:
    inside = replace(mirror, folder=Path(mirror.workspace.uri) / "models" / "flowers")
    assert main(arguments(inside, "--once")) == 2
    assert "name another --folder" in capsys.readouterr().err


def started(command: list[str]) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_it_goes_on_after_trouble_takes_up_new_versions_and_ends_when_told(
    mirror: Mirror, tmp_path: Path
) -> None:
    health = tmp_path / "health.json"
    more = arguments(mirror, "--every=0.1", f"--health={health}")
    process = started([sys.executable, "-m", "serving.model_mirror", *more])
    try:
        wait_for(health.exists)
        assert "no version is published" in json.loads(health.read_text())["error"]
        assert not is_healthy(health, 60)
        for version in (1, 2):
            publish(mirror.workspace, version)
        wait_for(lambda: json.loads(health.read_text())["versions"] == [1, 2])
        wait_for(lambda: json.loads(health.read_text())["error"] is None)
        assert main([f"--check={health}"]) == 0
    finally:
        process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "flowers: copied version" in said
    assert "Traceback" not in said


def test_a_health_file_that_nobody_writes_any_more_is_none(tmp_path: Path) -> None:
    health = tmp_path / "health.json"
    assert main([f"--check={health}"]) == 1
    health.write_text(json.dumps({"versions": [1]}))
    for changed in (0, time.time() + 3600):
        os.utime(health, (changed, changed))
        assert main([f"--check={health}", "--within=60"]) == 1
    for text in ("", "[]", "{}"):
        health.write_text(text)
        assert main([f"--check={health}"]) == 1


def test_a_key_that_leads_out_of_the_folder_is_not_copied(mirror: Mirror, monkeypatch: Any) -> None:
    publish(mirror.workspace, 1)
    listed = Folder.list

    def hostile(folder: Folder, prefix: str = "") -> Iterator[Entry]:
        found = list(listed(folder, prefix))
        yield from found
        if found:
            yield replace(found[0], key=f"{prefix}/../../escaped")

    monkeypatch.setattr(Folder, "list", hostile)
    with pytest.raises(StorageError, match="no name of a file"):
        mirror.update()
    assert mirror.versions() == []
    assert not list(mirror.folder.parent.rglob("escaped"))


@pytest.mark.parametrize(
    "wrong",
    [[], ["--workspace=w", "--folder=f"], ["--workspace=w", "--folder=f", "--model=a/b"]],
)
def test_wrong_usage_is_a_line_and_status_2(wrong: list[str], capsys: Any) -> None:
    assert model_mirror.main([*wrong, "--once"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
