"""Small pictures inside a page: JPEGs as data URIs, one by one or as tiles of one sheet."""

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image

from linnaeus.errors import LinnaeusError
from linnaeus.images import isolation
from linnaeus.storage import read_object

Small = TypeVar("Small")

READS = 8
SIDE_PIXELS = 144
TILE_PIXELS = 72
GREY = (128, 128, 128)


@dataclass(frozen=True)
class Sheet:
    """Pictures as square tiles, row by row, of one JPEG."""

    data_uri: str
    columns: int
    rows: int
    gone: frozenset[int]
    """Numbers of the pictures that could not be read, whose tiles are grey."""


def thumbnails(uris: Iterable[str]) -> dict[str, str | None]:
    """A data URI for each picture, `SIDE_PIXELS` wide or high; None if it is gone."""
    distinct = sorted(set(uris))
    small = _each(_encoded, distinct)
    return dict(zip(distinct, small, strict=True))


def sheet(uris: Sequence[str]) -> Sheet:
    """One JPEG with a tile for each picture, in their order, as square as can be."""
    columns = max(1, round(len(uris) ** 0.5))
    rows = max(1, -(-len(uris) // columns))
    whole = Image.new("RGB", (columns * TILE_PIXELS, rows * TILE_PIXELS), GREY)
    gone = set()
    for number, tile in enumerate(_each(lambda uri: _small(uri, TILE_PIXELS), uris)):
        if tile is None:
            gone.add(number)
            continue
        left, top = (number % columns) * TILE_PIXELS, (number // columns) * TILE_PIXELS
        margins = (TILE_PIXELS - tile.width) // 2, (TILE_PIXELS - tile.height) // 2
        whole.paste(tile, (left + margins[0], top + margins[1]))
    return Sheet(_data_uri(whole, quality=60), columns, rows, frozenset(gone))


def _each(small: Callable[[str], Small], uris: Sequence[str]) -> list[Small]:
    with ThreadPoolExecutor(READS) as pool:
        return list(pool.map(small, uris))


def _encoded(uri: str) -> str | None:
    picture = _small(uri, SIDE_PIXELS)
    return None if picture is None else _data_uri(picture, quality=72)


def _small(uri: str, side: int) -> Image.Image | None:
    """The picture in its own aspect ratio; None if it cannot be read any more."""
    try:
        picture = isolation.decode(read_object(uri, None), side, side)
    except LinnaeusError:
        return None
    scale = side / max(picture.width, picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return Image.fromarray(picture.pixels).resize(size, Image.Resampling.BILINEAR)


def _data_uri(picture: Image.Image, quality: int) -> str:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(sink.getvalue()).decode()
