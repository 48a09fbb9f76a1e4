import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.overview import overview
from linnaeus.storage import Folder


def test_an_empty_workspace_has_nothing(tmp_path):
    found = overview(Folder(str(tmp_path)))
    assert (found["tables"], found["models"], found["runs"]) == ({}, [], [])


def test_a_workspace_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=f"there is no workspace {tmp_path}/typo"):
        overview(Folder(f"{tmp_path}/typo"))


@pytest.mark.slow
def test_a_prefix_without_objects_is_no_workspace(s3):
    with pytest.raises(ConfigurationError, match=r"there is no workspace .*/typo"):
        overview(Folder(f"{s3.bucket()}/typo"))
