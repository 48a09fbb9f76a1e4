import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from linnaeus.backbones import BackboneSpec, load_spec, local_files, store, stored_files
from linnaeus.errors import ConfigurationError, StorageError
from linnaeus.storage import Folder

FINGERPRINT = "0123456789abcdef0123"


def made(folder: Path, attempt: str, content: bytes = b"network") -> BackboneSpec:
    """Files as a preparation leaves them, and their spec."""
    (folder / "openvino").mkdir(parents=True)
    (folder / "openvino" / "model.xml").write_bytes(content)
    (folder / "tensorflow" / "variables").mkdir(parents=True)
    (folder / "tensorflow" / "variables" / "variables.index").write_bytes(content * 2)
    engines = {name: stored_files(folder, name) for name in ("openvino", "tensorflow")}
    return BackboneSpec(
        "pixels", FINGERPRINT, 4, 4, 48, "float32", "none", "1", folder=attempt, engines=engines
    )


def published(workspace: Folder, folder: Path) -> BackboneSpec:
    return store.publish(workspace, folder, made(folder, "first"))


def keys(workspace: Folder) -> list[str]:
    return sorted(entry.key for entry in workspace.list("backbones"))


def test_a_published_backbone_is_found_and_its_files_are_where_they_lie(
    workspace: Folder, tmp_path: Path
):
    spec = published(workspace, tmp_path / "made")
    assert load_spec(workspace, FINGERPRINT) == spec
    files = local_files(workspace, FINGERPRINT)
    assert (files / "openvino" / "model.xml").read_bytes() == b"network"
    assert files.is_relative_to(workspace.uri)


def test_the_second_of_two_takes_its_files_away(workspace: Folder, tmp_path: Path):
    first = published(workspace, tmp_path / "made")
    before = keys(workspace)
    second = made(tmp_path / "other", "second", b"other bytes")
    assert store.publish(workspace, tmp_path / "other", second) == first
    assert keys(workspace) == before
    files = local_files(workspace, FINGERPRINT)
    assert (files / "openvino" / "model.xml").read_bytes() == b"network"


def test_files_without_a_spec_are_no_backbone(workspace: Folder, tmp_path: Path):
    published(workspace, tmp_path / "made")
    workspace.delete(f"backbones/{FINGERPRINT}/spec.json")
    with pytest.raises(ConfigurationError, match=f"no backbone {FINGERPRINT}"):
        load_spec(workspace, FINGERPRINT)
    again = store.publish(workspace, tmp_path / "more", made(tmp_path / "more", "second"))
    assert local_files(workspace, FINGERPRINT).name == again.folder == "second"


def test_the_index_keeps_the_first_of_two_that_agree_on_no_fingerprint(
    workspace: Folder, tmp_path: Path
):
    first = published(workspace, tmp_path / "made")
    other = dataclasses.replace(first, fingerprint="f" * 20)
    assert store.remember(workspace, "key", first) == first
    assert store.remember(workspace, "key", other) == first
    assert store.find_named(workspace, "key") == first
    assert store.find_named(workspace, "another") is None


def test_an_index_entry_of_a_deleted_backbone_is_replaced(workspace: Folder, tmp_path: Path):
    workspace.write("backbones/names/key.json", json.dumps({"fingerprint": "gone"}).encode())
    assert store.find_named(workspace, "key") is None
    spec = published(workspace, tmp_path / "made")
    assert store.remember(workspace, "key", spec) == spec
    assert store.find_named(workspace, "key") == spec


def test_a_spec_whose_folder_leads_out_of_the_workspace_is_refused(
    workspace: Folder, tmp_path: Path
):
    spec = dataclasses.replace(made(tmp_path / "made", "first"), folder="../../../elsewhere")
    workspace.write(f"backbones/{FINGERPRINT}/spec.json", spec.to_json().encode())
    with pytest.raises(StorageError, match="no name of a file"):
        local_files(workspace, FINGERPRINT)


@pytest.fixture
def remote(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Folder(f"{s3.bucket()}/work space")


@pytest.mark.slow
def test_remote_files_are_downloaded_once(remote: Folder, tmp_path: Path):
    published(remote, tmp_path / "made")
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: local_files(remote, FINGERPRINT), range(8)))
    (files,) = folders
    assert files.is_relative_to(tmp_path / "cache" / "linnaeus")
    assert (files / "tensorflow/variables/variables.index").read_bytes() == b"networknetwork"
    assert [path.name for path in files.parent.iterdir() if path != files] == [".lock"]
    remote.delete(f"backbones/{FINGERPRINT}/first/openvino/model.xml")
    assert local_files(remote, FINGERPRINT) == files


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"netw0rk", b"", None])
def test_a_damaged_remote_file_is_refused_and_not_kept(
    content: bytes | None, remote: Folder, tmp_path: Path
):
    published(remote, tmp_path / "made")
    key = f"backbones/{FINGERPRINT}/first/openvino/model.xml"
    remote.delete(key) if content is None else remote.write(key, content)
    with pytest.raises(StorageError, match=r"openvino/model\.xml .* damaged"):
        local_files(remote, FINGERPRINT)
    remote.write(key, b"network")
    assert (local_files(remote, FINGERPRINT) / "openvino/model.xml").read_bytes() == b"network"
