from pathlib import Path

import pytest

from serving.models.version_folder import NEWEST, VersionFolder, VersionPolicy, specific


def version(base: Path, name: str, complete: bool = True) -> Path:
    folder = base / name
    folder.mkdir(parents=True)
    if complete:
        (folder / "saved_model.pb").write_bytes(b"graph")
    return folder


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["1", "2", "10"], [10]),
        (["00000123", "7"], [123]),
        (["1", "claims", "-2", "1.5", "٣", ".staging-9", "9" * 200, str(2**63)], [1]),
        (["0" * 200 + "8", "7"], [8]),
        ([], []),
    ],
)
def test_versions_are_integers_and_the_highest_is_the_newest(
    tmp_path: Path, names: list[str], newest: list[int]
):
    for name in names:
        version(tmp_path, name)
    assert VersionFolder(str(tmp_path)).select(NEWEST) == newest


def test_a_version_without_its_graph_is_not_there_yet(tmp_path: Path):
    version(tmp_path, "1")
    version(tmp_path, "2", complete=False)
    assert VersionFolder(str(tmp_path)).select(NEWEST) == [1]


def test_a_version_that_was_complete_once_is_not_looked_at_again(tmp_path: Path):
    version(tmp_path, "1", complete=False)
    assert VersionFolder(str(tmp_path)).select(NEWEST, known={1}) == [1]


def test_a_missing_folder_is_told_from_an_empty_one(tmp_path: Path):
    assert VersionFolder(str(tmp_path)).is_there()
    assert not VersionFolder(str(tmp_path / "absent")).is_there()
    assert VersionFolder(str(tmp_path / "absent")).select(NEWEST) == []


def test_a_local_version_is_used_where_it_lies(tmp_path: Path):
    folder = version(tmp_path, "0002")
    versions = VersionFolder(str(tmp_path))
    assert versions.fetch(2) == folder
    versions.discard(2)
    versions.close()
    assert (folder / "saved_model.pb").exists()


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        (NEWEST, [3]),
        (VersionPolicy(2), [3, 2]),
        (VersionPolicy(9), [3, 2, 1]),
        (VersionPolicy(None), [3, 2, 1]),
        (specific(1, 3), [3, 1]),
        (specific(4), []),
        (specific(2, 5), [2]),
    ],
)
def test_a_policy_chooses_among_complete_versions(
    tmp_path: Path, policy: VersionPolicy, served: list[int]
):
    for name in ("1", "2", "3"):
        version(tmp_path, name)
    version(tmp_path, "5", complete=False)
    assert VersionFolder(str(tmp_path)).select(policy) == served
