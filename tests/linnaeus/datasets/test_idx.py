from __future__ import annotations

import gzip
import io
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from linnaeus.datasets.idx import main, read_idx
from linnaeus.manifests import freeze, load
from linnaeus.storage import Folder
from tests.linnaeus.datasets.idx_files import write_idx

PICTURES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
DIGITS = np.array([7, 0, 7], np.uint8)


def pair(folder: Path, pictures: bytes, labels: bytes) -> tuple[str, str]:
    images_file, labels_file = folder / "images-idx3-ubyte", folder / "labels-idx1-ubyte"
    images_file.write_bytes(pictures)
    labels_file.write_bytes(labels)
    return str(images_file), str(labels_file)


@given(
    values=arrays.arrays(
        np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
    ),
    compressed=st.booleans(),
)
def test_what_is_written_is_read_again(values: np.ndarray, compressed: bool):
    data = write_idx(values)
    read = read_idx(gzip.compress(data) if compressed else data)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, values)


def test_the_form_is_that_of_the_original_files():
    """Big-endian, as the files of MNIST are."""
    data = struct.pack(">4i", 0x803, 1, 2, 3) + bytes(range(6))
    np.testing.assert_array_equal(read_idx(data), [[[0, 1, 2], [3, 4, 5]]])
    assert write_idx(np.arange(6, dtype=np.uint8).reshape(1, 2, 3)) == data


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes):
    try:
        values = read_idx(data)
    except ValueError:
        return
    assert write_idx(values) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no IDX file"),
        (b"PK\x03\x04rest", "no IDX file"),
        (struct.pack(">2i", 0xD01, 5) + bytes(20), "unsigned bytes"),
        (struct.pack(">i", 0x803), "no IDX file"),
        (struct.pack(">2i", 0x801, 5) + b"\x01\x02", "damaged: 2 bytes follow"),
        (struct.pack(">2i", 0x801, -1) + b"\x01\x02", "damaged"),
        (struct.pack(">4i", 0x803, 2**30, 2**30, 2**30), "damaged"),
        (gzip.compress(write_idx(DIGITS), mtime=0)[:-9], "damaged"),
    ],
)
def test_what_is_no_idx_file_is_refused(data: bytes, message: str):
    with pytest.raises(ValueError, match=message):
        read_idx(data)


def test_a_pair_becomes_a_folder_that_every_command_takes(
    tmp_path: Path, workspace: Folder, capsys: pytest.CaptureFixture
):
    images, labels = pair(tmp_path, write_idx(PICTURES), gzip.compress(write_idx(DIGITS)))
    folder = tmp_path / "pictures"
    for split in ("train", "test"):
        assert main([images, labels, "--to", str(folder), "--split", split]) == 0
    assert "3 pictures" in capsys.readouterr().out
    listed = load(workspace, freeze(workspace, str(folder)).id).sort_by("uri").to_pylist()
    assert [(row["split"], row["label"], Path(row["uri"]).name) for row in listed] == [
        (split, label, name)
        for split in ("test", "train")
        for label, name in (("0", "00001.png"), ("7", "00000.png"), ("7", "00002.png"))
    ]
    second = Image.open(io.BytesIO((folder / "train/0/00001.png").read_bytes()))
    np.testing.assert_array_equal(np.asarray(second), PICTURES[1])


def test_unpacking_again_leaves_the_pictures_alone(tmp_path: Path):
    images, labels = pair(tmp_path, write_idx(PICTURES), write_idx(DIGITS))
    picture = tmp_path / "pictures/7/00000.png"
    assert main([images, labels, "--to", str(tmp_path / "pictures")]) == 0
    before = picture.stat().st_mtime_ns
    assert main([images, labels, "--to", str(tmp_path / "pictures")]) == 0
    assert picture.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("pictures", "labels", "message"),
    [
        (write_idx(PICTURES), write_idx(DIGITS[:2]), "has 3 images, but .* has 2 labels"),
        (write_idx(DIGITS), write_idx(PICTURES), "has labels, not images"),
        (write_idx(PICTURES), write_idx(PICTURES), "has images, not labels"),
        (write_idx(PICTURES[..., None]), write_idx(DIGITS), "items of 3 dimensions, not images"),
        (b"\x89PNG", write_idx(DIGITS), "images-idx3-ubyte: no IDX file"),
        (write_idx(PICTURES)[:-1], write_idx(DIGITS), "images-idx3-ubyte: damaged"),
    ],
)
def test_files_that_do_not_go_together_are_refused_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    pictures: bytes,
    labels: bytes,
    message: str,
):
    images_file, labels_file = pair(tmp_path, pictures, labels)
    assert main([images_file, labels_file, "--to", str(tmp_path / "to")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said)
    assert not (tmp_path / "to").exists()


def test_the_program_says_nothing_on_standard_error_when_all_is_well(tmp_path: Path):
    files = pair(tmp_path, write_idx(PICTURES), write_idx(DIGITS))
    program = [sys.executable, "-m", "linnaeus.datasets.idx", *files]
    done = subprocess.run([*program, "--to", tmp_path / "to"], capture_output=True, check=True)
    assert done.stderr == b""


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    images, _ = pair(tmp_path, write_idx(PICTURES), write_idx(DIGITS))
    assert main([images, str(tmp_path / "none"), "--to", str(tmp_path)]) == 2
    assert "none: No such file" in capsys.readouterr().err
