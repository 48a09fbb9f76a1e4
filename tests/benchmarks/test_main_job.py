"""The pictures of the main job; the job itself takes minutes and is tried by `make bench`."""

from collections import Counter
from io import BytesIO

import pytest
from PIL import Image

from benchmarks import main_job
from linnaeus.storage import Folder


@pytest.mark.slow
def test_pictures_have_two_labels_neither_of_which_is_the_brighter(tmp_path):
    folder = Folder(str(tmp_path))
    main_job.upload(folder, 60)
    keys = [entry.key for entry in folder.list("")]
    assert len(keys) == 60
    pictures = [(key.split("/")[0], Image.open(BytesIO(folder.read(key)))) for key in keys]
    assert {picture.size for _, picture in pictures} == {(224, 168)}
    bright = Counter(
        (label, picture.resize((1, 1)).convert("L").getpixel((0, 0)) > 100)
        for label, picture in pictures
    )
    assert len(bright) == 4
