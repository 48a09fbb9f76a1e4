"""The table of picture formats, which listing, decoding, exported graph and docs follow.

To add a format, add its row; where exported graphs decode it too, its operations go to
`linnaeus.training.exporting.image_ops`.
"""

import re
from dataclasses import dataclass

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

MAGIC_BYTES = 5_000
"""Of the beginning of an object, by which its format is told."""


@dataclass(frozen=True)
class Format:
    r"""A format of pictures.

    name: Pillow's, where that decodes it.
    magic: how its bytes begin, in what Python's patterns and RE2's have in common: `\x00` for a
        byte, no `\s`, nothing repeated above 1000 times by number.
    suffixes: of objects that are listed as images.
    file_class: what decodes it; a format without one is known and refused.
    exported: whether exported graphs decode it.
    but: what of it they refuse nevertheless, in words that follow its name.
    """

    name: str
    magic: bytes
    suffixes: tuple[str, ...] = ()
    file_class: type[ImageFile] | None = None
    exported: bool = False
    but: str = ""

    @property
    def refusal(self) -> str:
        """What is said of a picture that is refused for its format."""
        by = " by the model" if self.file_class else ""
        return f"{self.name}{self.but} is not decoded{by}: make it a JPEG or PNG"


FORMATS = (
    Format("JPEG", rb"\xff\xd8\xff", (".jpg", ".jpeg"), JpegImageFile, exported=True),
    Format("PNG", rb"\x89PNG\r\n\x1a\n", (".png",), PngImageFile, exported=True),
    Format("GIF", rb"GIF8[79]a", (".gif",), GifImageFile, exported=True),
    Format(  # 'BM' alone begins many a text; the size of the second header is one of seven
        "BMP",
        rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00",
        (".bmp",),
        BmpImageFile,
        exported=True,
        but=" that is compressed or has not 8, 24 or 32 bits a pixel",
    ),
    Format("WEBP", rb"RIFF.{4}WEBP", (".webp",), WebPImageFile, exported=True),
    Format("TIFF", rb"II[*+]\x00|MM\x00[*+]", (".tif", ".tiff"), TiffImageFile),
    Format("HEIC", rb".{4}ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)"),
    Format("AVIF", rb".{4}ftypavi[fs]"),
    Format("SVG", rb"[\t\n\v\f\r \xef\xbb\xbf]*<(?:svg|(?:\?xml|!--|!DOCTYPE svg).*<svg)"),
    Format("PSD", rb"8BPS"),
    Format("ICO", rb"\x00\x00[\x01\x02]\x00"),
    Format("JPEG 2000", rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"),
    Format("JPEG XL", rb"\x00\x00\x00\x0cJXL |\xff\x0a"),
    Format("Netpbm", rb"P[1-7][\t\n\v\f\r ]"),
    Format("OpenEXR", rb"\x76\x2f\x31\x01"),
    Format("DDS", rb"DDS "),
)

IMAGE_SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)

IMAGE_NAME = f"(?i)({'|'.join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)})$"

NOT_EXPORTED = frozenset(one.name for one in FORMATS if not one.exported)
"""Names of the formats that no exported graph decodes."""

PARTLY_EXPORTED = frozenset(one.name for one in FORMATS if one.exported and one.but)
"""Names of those of which an exported graph refuses some."""

_MAGIC = [(re.compile(one.magic, re.DOTALL), one) for one in FORMATS]


def format_of(data: bytes) -> Format | None:
    """The format that an object's first bytes tell; None: none that is known."""
    return next((one for magic, one in _MAGIC if magic.match(data, 0, MAGIC_BYTES)), None)
