"""The user's own pictures, on which precisions are judged: what cannot be one costs nothing."""

from pathlib import Path

import pytest

from linnaeus import images, manifests
from linnaeus.manifests import sampling
from linnaeus.storage import Folder, folder
from tests.buckets import fill


def test_what_is_no_picture_is_left_out_and_what_is_too_large_is_not_even_read(
    workspace: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bucket = fill(tmp_path / "bucket", 4)
    (bucket / "even" / "blank.png").write_bytes(b" " * 1_000_000)
    with (bucket / "even" / "large.png").open("wb") as file:
        file.truncate(images.Limits().image_bytes + 1)
    read: list[str] = []
    read_object = folder.read_object
    monkeypatch.setattr(
        sampling, "read_object", lambda uri, etag: read.append(uri) or read_object(uri, etag)
    )
    manifest = manifests.freeze(workspace, str(bucket))
    assert sampling.sampler(workspace, manifest)(8, 9).shape == (4, 8, 9, 3)
    assert len(read) == 5
