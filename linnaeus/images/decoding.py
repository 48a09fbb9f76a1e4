"""The only Python that turns an object's bytes into pixels.

What a picture is, is told by its first bytes, never by its name. Pillow's file classes are used
directly instead of `PIL.Image.open`: that one refuses large pictures by a process-wide setting and
a warning, where here every call brings its own `Limits`, in any number of threads.
"""

import struct
import warnings
from dataclasses import asdict, dataclass
from io import BytesIO

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from linnaeus.errors import FailureCode, ImageError
from linnaeus.images import refusals
from linnaeus.images.formats import format_of

# Whoever changes a pixel that `decode` returns raises the number at the end.
PREPROCESSING = "dct-scaled;exif-turned;over-white;first-frame;squash-bilinear-antialiased;1"

# Pillow warns about odd metadata, which is no concern of a person with a million pictures.
warnings.filterwarnings("ignore", module=r"PIL\.")

EXPORTED_PIXELS = 50_000_000
"""Most that an exported graph decodes of a picture; of some JPEGs twice as many."""


@dataclass(frozen=True)
class Limits:
    """What is refused as TOO_LARGE: by size before any pixel is decoded, by cost meanwhile."""

    image_bytes: int = 100 << 20
    pixels: int = 100_000_000
    seconds: float = 30.0
    """Of a processor's time for one picture; held by `linnaeus.images.isolation`, as is the next.
    """
    memory_bytes: int = 1 << 30
    """Address space of the process that decodes: all it takes but for WebP from 57 megapixels."""


@dataclass(frozen=True)
class Picture:
    """A decoded object.

    pixels: uint8 [H, W, 3], RGB, at the size that was asked for.
    width, height: of the stored picture in pixels, upright (after its EXIF turn).
    format: its name in `linnaeus.images.formats`.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    format: str


def decode(data: bytes, height: int, width: int, limits: Limits = Limits()) -> Picture:
    """Decode an encoded picture to RGB at height x width, its aspect ratio not kept.

    EXIF orientation is applied, transparency is laid over white, the first frame stands for an
    animation, 16 bits become their upper 8, and large JPEGs are decoded at the smallest of
    1/1, 1/2, 1/4, 1/8 of their size that is not below what is asked for.

    Raises ImageError, and nothing else, whatever the bytes are: EMPTY, NOT_AN_IMAGE, UNSUPPORTED,
    TOO_LARGE or CORRUPT.
    """
    try:
        return _decode(data, height, width, limits)
    except ImageError:
        raise
    except (MemoryError, Image.DecompressionBombError) as e:
        raise ImageError(
            "the picture does not fit into memory: make it smaller", FailureCode.TOO_LARGE
        ) from e
    except Exception as e:
        reason = _one_line(e)
        if refusals.is_of_another_kind(reason):
            raise ImageError(
                f"the picture is of a kind that is not decoded ({reason}): store a JPEG or PNG",
                FailureCode.UNSUPPORTED,
            ) from e
        raise ImageError(
            f"the picture is damaged: {reason}; store it anew", FailureCode.CORRUPT
        ) from e


def decoder_version(limits: Limits = Limits()) -> str:
    """Everything that decides whether bytes can be decoded, in one string for the failures."""
    held = ";".join(f"{name}={limit}" for name, limit in asdict(limits).items())
    return f"pillow-{PIL.__version__};{held}"


def orientation(exif: bytes) -> int:
    """The EXIF orientation (1 to 8) in an EXIF block; 1, upright, where it says nothing valid.

    Layout: Exif 2.32, 4.6.2: a TIFF header, then directory 0 with entries of 12 bytes.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH2x", exif, entry)
            if tag == _ORIENTATION:
                return value if value in _TURNS else 1
    except struct.error:
        pass
    return 1


_FILTER = Image.Resampling.BILINEAR

_BAND_PIXELS = 1 << 20

_ORIENTATION = 0x0112

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_SIDEWAYS = (5, 6, 7, 8)


def _decode(data: bytes, height: int, width: int, limits: Limits) -> Picture:
    file_class = _file_class(data, limits)
    if file_class is WebPImageFile:  # which takes memory for all pixels when it is opened
        _check_pixels(*_webp_size(data), limits)
    image = file_class(BytesIO(data))
    stored_width, stored_height = image.size
    _check_pixels(stored_width, stored_height, limits)
    if image.format != "JPEG":
        image.load()  # what says how to turn it may follow the pixels
    turn = _turn(image)
    pixels = np.asarray(_resized(image, turn, height, width))
    if turn in _SIDEWAYS:
        stored_width, stored_height = stored_height, stored_width
    return Picture(pixels, stored_width, stored_height, str(image.format))


def _turn(image: ImageFile) -> int:
    """The EXIF orientation still to be applied; TIFF has no block, Pillow turns it in loading."""
    exif = image.info.get("exif")
    return orientation(exif) if exif else 1


def _resized(image: Image.Image, turn: int, height: int, width: int) -> Image.Image:
    """Resize as stored, then turn: turning the small picture costs nothing."""
    size = (height, width) if turn in _SIDEWAYS else (width, height)
    image.draft("RGB", size)  # DCT scaling, which only JPEG has
    image.load()  # palettes and transparency are known only then
    rows = max(1, _BAND_PIXELS // image.width)
    if image.height > rows:
        image = _across(image, size[0], rows)
    small = _to_rgb(image).resize(size, _FILTER)
    return small.transpose(_TURNS[turn]) if turn in _TURNS else small


def _across(image: Image.Image, width: int, rows: int) -> Image.Image:
    """Resized across alone, so many rows at once: no conversion holds a copy of all pixels.

    Pillow resizes across and then down itself, so no pixel changes.
    """
    whole = Image.new("RGB", (width, image.height))
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_to_rgb(band).resize((width, band.height), _FILTER), (0, top))
    return whole


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise ImageError(
            "pixels of 32 bits have no agreed white: store them with 8 or 16 bits",
            FailureCode.UNSUPPORTED,
        )
    if image.mode.startswith("I;16"):
        return _upper_bits(image)
    if image.has_transparency_data:
        return _over_white(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _upper_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion saturates above 255 instead of scaling.
    values = np.asarray(image)
    grey = (values >> 8).astype(np.uint8)
    grey[values == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey).convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _file_class(data: bytes, limits: Limits) -> type[ImageFile]:
    """Pillow's class for what the first bytes say; ImageError where there is none."""
    if not data:
        raise ImageError(refusals.EMPTY, FailureCode.EMPTY)
    if len(data) > limits.image_bytes:
        raise ImageError(
            f"{len(data):,} bytes are more than the limit of {limits.image_bytes:,}",
            FailureCode.TOO_LARGE,
        )
    found = format_of(data)
    if found is None:
        raise ImageError(refusals.NO_PICTURE, FailureCode.NOT_AN_IMAGE)
    if found.file_class is None:
        raise ImageError(found.refusal, FailureCode.UNSUPPORTED)
    return found.file_class


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height in the first chunk, VP8X, VP8L or VP8; what is cut off counts as 0.

    Layout: RFC 9649, 2.5 to 2.7, and RFC 6386, 9.1.
    """
    start = data[20:30].ljust(10, b"\0")
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(start[at : at + 3], "little") for at in (4, 7))
        return width + 1, height + 1
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(start[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", start, 6)
    return width & 0x3FFF, height & 0x3FFF


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        raise ImageError(
            f"{width} x {height} pixels are more than the limit of {limits.pixels:,}",
            FailureCode.TOO_LARGE,
        )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
