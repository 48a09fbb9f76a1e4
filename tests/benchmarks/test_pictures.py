import hashlib

import pytest
from PIL import Image

from benchmarks import pictures

pytestmark = pytest.mark.slow


def digests(folder):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures.files(folder)]


def test_pictures_are_the_same_wherever_and_in_however_many_goes_they_are_made(tmp_path):
    whole = pictures.make(tmp_path / "whole", 12)
    pictures.make(tmp_path / "parts", 5)
    assert digests(pictures.make(tmp_path / "parts", 12)) == digests(whole)
    assert len(set(digests(whole))) == 12


def test_pictures_are_of_a_cameras_size_and_weight(tmp_path):
    for path in pictures.files(pictures.make(tmp_path, 9)):
        with Image.open(path) as image:
            assert (image.format, image.size) == ("JPEG", (640, 480))
        assert 50_000 < path.stat().st_size < 150_000
