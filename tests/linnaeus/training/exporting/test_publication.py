import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from linnaeus.errors import StorageError
from linnaeus.models import versions
from linnaeus.storage import Folder
from linnaeus.training.exporting.publication import publishing
from tests.disk import Disk


def fill(folder: Path) -> None:
    (folder / "variables").mkdir()
    (folder / "variables" / "weights").write_bytes(b"w" * 1000)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "linnaeus.json").write_text("{}")


def publish(workspace: Folder) -> int:
    with publishing(workspace, "solar") as draft:
        fill(draft.folder)
    return draft.version


def files(workspace: Folder, prefix: str) -> set[str]:
    return {entry.key for entry in workspace.list(prefix)}


def seen_by_a_server(workspace: Folder) -> set[str]:
    return {path.name for path in Path(workspace.uri, "models/solar").iterdir()}


def test_versions_count_from_one_and_hold_every_file(workspace: Folder) -> None:
    assert [publish(workspace), publish(workspace)] == [1, 2]
    assert versions(workspace, "solar") == [1, 2]
    assert files(workspace, "models/solar/2") == {
        "models/solar/2/variables/weights",
        "models/solar/2/saved_model.pb",
        "models/solar/2/linnaeus.json",
    }


def test_a_model_that_was_deleted_leaves_no_number_to_another(workspace: Folder) -> None:
    assert [publish(workspace), publish(workspace)] == [1, 2]
    shutil.rmtree(Path(workspace.uri, "models"))
    workspace.write_new("versions/solar/.DS_Store", b"")
    assert publish(workspace) == 3


def test_publishers_at_once_get_versions_of_their_own(workspace: Folder) -> None:
    with ThreadPoolExecutor(8) as pool:
        published = list(pool.map(lambda _: publish(workspace), range(16)))
    assert sorted(published) == versions(workspace, "solar") == list(range(1, 17))


def test_nothing_is_visible_before_the_end(workspace: Folder) -> None:
    with publishing(workspace, "solar") as draft:
        fill(draft.folder)
        assert versions(workspace, "solar") == []
        assert not Path(workspace.uri, "models/solar/1").exists()


def test_an_exception_publishes_nothing_and_leaves_no_staging(workspace: Folder) -> None:
    with pytest.raises(KeyboardInterrupt), publishing(workspace, "solar") as draft:
        fill(draft.folder)
        raise KeyboardInterrupt
    assert seen_by_a_server(workspace) == set()
    assert publish(workspace) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from linnaeus.storage import Folder
from tests.disk import Disk
from linnaeus.training.exporting.publication import publishing
with publishing(Folder(sys.argv[1]), "solar") as draft:
    (draft.folder / "saved_model.pb").write_bytes(b"graph")
    (draft.folder / "linnaeus.json").write_text("{}")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_crash_between_staging_and_rename_leaves_no_version_visible(workspace: Folder) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, workspace.uri], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert versions(workspace, "solar") == []
    assert not [name for name in seen_by_a_server(workspace) if name.isdigit()]
    assert publish(workspace) == 2
    assert versions(workspace, "solar") == [2]


def test_a_workspace_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    workspace = Folder(str(tmp_path / "file"))
    with pytest.raises(StorageError, match="file"):
        publish(workspace)


@pytest.mark.slow
def test_a_bucket_gets_the_description_last(s3: Any) -> None:
    workspace = Folder(s3.bucket())
    written: list[str] = []
    write = Folder.write

    class Recorded(Folder):
        def write(self, key: str, data: bytes) -> None:
            written.append(key)
            write(self, key, data)

    assert publish(Recorded(workspace.uri)) == 1
    assert written[-2:] == ["models/solar/1/saved_model.pb", "models/solar/1/linnaeus.json"]
    assert versions(workspace, "solar") == [1]
    assert publish(workspace) == 2


def test_all_of_a_version_is_on_the_disk_before_it_is_seen(
    workspace: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, rename, lost = Disk(monkeypatch), Path.rename, []

    def look(path: Path, target: Path) -> Path:
        lost.extend(one for one in (path, *path.rglob("*")) if disk.lacks(one))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", look)
    publish(workspace)
    assert lost == []
    assert not disk.lacks(Path(workspace.uri, "models/solar"))
