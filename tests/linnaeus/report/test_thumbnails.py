"""Pictures inside the page are small, in their own proportions, and may be gone."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linnaeus.report.thumbnails import GREY, SIDE_PIXELS, TILE_PIXELS, sheet, thumbnails
from tests import pictures


@pytest.fixture
def stored(tmp_path: Path) -> list[str]:
    """A wide picture, one that is turned by its EXIF, text, and nothing."""
    contents = [pictures.jpeg(640, 480), pictures.turned_jpeg(6), pictures.TEXT]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    return [str(tmp_path / f"{number}.jpg") for number in range(4)]


def opened(data_uri: str) -> Image.Image:
    start = "data:image/jpeg;base64,"
    assert data_uri.startswith(start)
    return Image.open(io.BytesIO(base64.b64decode(data_uri.removeprefix(start))))


def test_thumbnails_keep_proportions_and_the_gone_have_none(stored: list[str]):
    found = thumbnails([*stored, stored[0]])
    wide, upright, *gone = (found[uri] for uri in stored)
    assert opened(wide).size == (SIDE_PIXELS, SIDE_PIXELS * 3 // 4)
    assert opened(upright).size == (SIDE_PIXELS * 3 // 4, SIDE_PIXELS)
    assert gone == [None, None]
    assert len(wide) < 10_000


def test_a_sheet_has_a_tile_for_each_picture(stored: list[str]):
    found = sheet(stored)
    pixels = np.asarray(opened(found.data_uri)).astype(int)
    assert (found.columns, found.rows, found.gone) == (2, 2, {2, 3})
    assert pixels.shape == (2 * TILE_PIXELS, 2 * TILE_PIXELS, 3)
    assert abs(pixels[TILE_PIXELS + 8 :] - GREY).max() < 8
    assert pixels[10 : TILE_PIXELS - 10, :TILE_PIXELS].std() > 20
