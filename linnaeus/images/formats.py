"""Formats of pictures: how their files are called, and how their bytes begin."""

import re


def magic_bytes(pattern: bytes) -> re.Pattern[bytes]:
    """Held against the beginning of any bytes, so bounded: a test refuses `*` and `+`."""
    return re.compile(pattern, re.DOTALL)


NOT_DECODED = (
    (magic_bytes(rb".{4}ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)"), "HEIC"),
    (magic_bytes(rb".{4}ftypavi[fs]"), "AVIF"),
    (
        magic_bytes(rb"[\s\xef\xbb\xbf]{0,999}<(?:svg|(?:\?xml|!--|!DOCTYPE svg).{0,4000}<svg)"),
        "SVG",
    ),
    (magic_bytes(rb"8BPS"), "PSD"),
    (magic_bytes(rb"\0\0[\1\2]\0"), "ICO"),
    (magic_bytes(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (magic_bytes(rb"\0\0\0\x0cJXL |\xff\x0a"), "JPEG XL"),
    (magic_bytes(rb"P[1-7]\s"), "Netpbm"),
    (magic_bytes(rb"\x76\x2f\x31\x01"), "OpenEXR"),
    (magic_bytes(rb"DDS "), "DDS"),
)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")

IMAGE_NAME = f"(?i)({'|'.join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)})$"
