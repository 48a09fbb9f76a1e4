from pathlib import Path

import pytest

from serving.models.version_folder import VersionFolder


def version(base: Path, name: str, complete: bool = True) -> Path:
    folder = base / name
    folder.mkdir(parents=True)
    if complete:
        (folder / "saved_model.pb").write_bytes(b"graph")
    return folder


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["1", "2", "10"], 10),
        (["00000123", "7"], 123),
        (["1", "claims", "-2", "1.5", "٣", ".staging-9"], 1),
        ([], None),
    ],
)
def test_versions_are_integers_and_the_highest_is_the_newest(
    tmp_path: Path, names: list[str], newest: int | None
):
    for name in names:
        version(tmp_path, name)
    assert VersionFolder(str(tmp_path)).newest() == newest


def test_a_version_without_its_graph_is_not_there_yet(tmp_path: Path):
    version(tmp_path, "1")
    version(tmp_path, "2", complete=False)
    assert VersionFolder(str(tmp_path)).newest() == 1


def test_a_missing_folder_is_told_from_an_empty_one(tmp_path: Path):
    assert VersionFolder(str(tmp_path)).is_there()
    assert not VersionFolder(str(tmp_path / "absent")).is_there()
    assert VersionFolder(str(tmp_path / "absent")).newest() is None


def test_a_local_version_is_used_where_it_lies(tmp_path: Path):
    folder = version(tmp_path, "0002")
    versions = VersionFolder(str(tmp_path))
    assert versions.fetch(2) == folder
    versions.discard(2)
    versions.close()
    assert (folder / "saved_model.pb").exists()


def test_a_pinned_version_is_found_beside_newer_ones(tmp_path: Path):
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
    assert VersionFolder(str(tmp_path), only=1).newest() == 1
    assert VersionFolder(str(tmp_path), only=3).newest() is None
