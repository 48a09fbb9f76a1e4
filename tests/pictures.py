"""Encoded test pictures of every kind, made in memory."""

import struct
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 0x0112


def scene(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    """A smooth RGB picture without symmetry, so that every turn of it looks different."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def fading(width: int = 64, height: int = 48) -> Image.Image:
    """The scene as RGBA, from transparent at the left to opaque at the right."""
    picture = scene(width, height).convert("RGBA")
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    picture.putalpha(Image.fromarray(np.tile(ramp, (height, 1))))
    return picture


def encode(picture: Image.Image, file_format: str, **options: object) -> bytes:
    stream = BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def jpeg(width: int = 64, height: int = 48, seed: int = 0, **options: object) -> bytes:
    return encode(scene(width, height, seed), "JPEG", **({"quality": 92} | options))


def png(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    return encode(scene(width, height, seed), "PNG")


def exif(orientation: int, order: str = "<") -> bytes:
    """An EXIF block with a directory of three entries; order '<' is little-endian, '>' big."""
    header = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    entries = [(0x010F, 2, 4, b"Cam\0"), (ORIENTATION, 3, 1, None), (0x0213, 3, 1, None)]
    short = struct.pack(order + "HH", orientation, 0)
    packed = [struct.pack(order + "HHI", *entry[:3]) + (entry[3] or short) for entry in entries]
    directory = struct.pack(order + "H", len(packed)) + b"".join(packed)
    return b"Exif\0\0" + header + directory + bytes(4)


def turned_jpeg(orientation: int, order: str = "<", **options: object) -> bytes:
    return jpeg(exif=exif(orientation, order), **options)


def turned(orientation: int, file_format: str, order: str = "<") -> bytes:
    if file_format == "TIFF":
        return encode(scene(), "TIFF", tiffinfo={ORIENTATION: orientation})
    lossless = {"lossless": True} if file_format == "WEBP" else {}
    return encode(scene(), file_format, exif=exif(orientation, order), **lossless)


def late_exif_png(orientation: int) -> bytes:
    """With its EXIF block behind the pixels, as some editors leave it."""
    data = encode(scene(), "PNG")
    return data.removesuffix(_END) + _chunk(b"eXIf", exif(orientation)[6:]) + _END


def cmyk_jpeg() -> bytes:
    """With Adobe's marker, so inverted."""
    return encode(scene().convert("CMYK"), "JPEG", quality=95)


def palette_png() -> bytes:
    return encode(scene().quantize(32), "PNG")


def transparent_palette_png() -> bytes:
    """Colour 3 of the palette is half transparent, colour 5 wholly."""
    return encode(scene().quantize(16), "PNG", transparency=b"\xff\xff\xff\x80\xff\x00")


def ramp16(width: int = 64, height: int = 48) -> NDArray[np.uint16]:
    """Every value far from its neighbours in the lower byte, so that scaling shows."""
    return (
        (np.arange(width * height, dtype=np.uint32) * 977 % 65536)
        .reshape(height, width)
        .astype(np.uint16)
    )


def grey16(file_format: str = "PNG") -> bytes:
    return encode(Image.fromarray(ramp16()), file_format)


def few_bits_png(bits: int, transparent: int | None = None) -> bytes:
    """Grey with 1, 2 or 4 bits a pixel, which Pillow reads but does not write."""
    grey = np.asarray(scene().convert("L")) >> (8 - bits)
    spread = (grey[..., None] >> np.arange(bits)[::-1]) & 1
    rows = np.packbits(spread.reshape(len(grey), -1), axis=1)
    extra = b"" if transparent is None else _chunk(b"tRNS", struct.pack(">H", transparent))
    return _png(rows, (64, 48, bits, 0), extra)


def rgb16_png() -> bytes:
    """Pillow writes no 16-bit RGB: chunk by chunk (PNG specification, colour type 2)."""
    return _png(_rows16(ramp16(), ramp16()[::-1], ramp16()[:, ::-1]), (64, 48, 16, 2))


def rgba16_png() -> bytes:
    channels = ramp16(), ramp16()[::-1], ramp16()[:, ::-1], np.sort(ramp16(), axis=1)
    return _png(_rows16(*channels), (64, 48, 16, 6))


def rgb16_tiff() -> bytes:
    """One uncompressed strip of 16-bit RGB (TIFF 6.0, baseline tags)."""
    values = np.stack([ramp16(), ramp16()[::-1], ramp16()[:, ::-1]], axis=2).astype("<u2")
    height, width, _ = values.shape
    pixels = values.tobytes()
    strip, bits = 8 + 2 + 10 * 12 + 4 + 6, 8 + 2 + 10 * 12 + 4
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, strip),
        (277, 3, 1, 3),
        (278, 3, 1, height),
        (279, 4, 1, len(pixels)),
        (284, 3, 1, 1),
    ]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return header + directory + bytes(4) + struct.pack("<HHH", 16, 16, 16) + pixels


def animation(file_format: str, **options: object) -> bytes:
    """Two frames: the scene, then another."""
    return encode(
        scene(), file_format, save_all=True, append_images=[scene(seed=9)], duration=50, **options
    )


def transparent_gif() -> bytes:
    return encode(scene().quantize(16), "GIF", transparency=3)


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of some bytes that claims to be huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _MAGIC + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0")) + _END


def blank_png(width: int, height: int, kind: int, bits: int = 8, interlaced: int = 0) -> bytes:
    """A black or transparent PNG of that colour type, however many pixels that is, in some KB."""
    row = 1 + (width * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind] * bits + 7) // 8
    packer, block = zlib.compressobj(1), bytes(row)
    packed = b"".join(packer.compress(block) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    palette = _chunk(b"PLTE", bytes(768)) + _chunk(b"tRNS", bytes(256)) if kind == 3 else b""
    chunks = _chunk(b"IHDR", header) + palette + _chunk(b"IDAT", packed)
    return b"\x89PNG\r\n\x1a\n" + chunks + _END


def packed_texts(count: int) -> bytes:
    """A PNG with texts of almost eight megabytes, as long as libpng unpacks, each in some KB."""
    text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(7_900_000), 9))
    return png()[:33] + text * count + png()[33:]


def many_scans_jpeg(width: int, height: int, more: int) -> bytes:
    """A grey progressive JPEG whose last scan, which says nothing, comes so many times more."""
    data = encode(Image.new("L", (width, height), 128), "JPEG", progressive=True)
    end = data.rfind(b"\xff\xd9")
    return data[:end] + data[data.rfind(b"\xff\xda") : end] * more + data[end:]


def many_frames_gif(side: int, frames: int) -> bytes:
    """The same frame of side x side so many times, in some KB."""
    still = encode(Image.new("P", (side, side)), "GIF").removesuffix(b";")
    return still + still[still.index(b",\0\0\0\0") :] * (frames - 1) + b";"


def huge_tile_tiff(side: int) -> bytes:
    """64 x 64 pixels in one packed tile of side x side."""
    packed = zlib.compress(bytes(4096))
    values = [(256, 64), (257, 64), (258, 8), (259, 8), (262, 1), (277, 1)]
    values += [(322, side), (323, side), (324, 8 + 2 + 10 * 12 + 4), (325, len(packed))]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values)
    return struct.pack("<2sHIH", b"II", 42, 8, len(values)) + directory + bytes(4) + packed


def webp_header(width: int, height: int, kind: str = "VP8L") -> bytes:
    """A WebP that ends behind its size."""
    sides = width - 1, height - 1
    contents = {
        "VP8X": bytes(4) + b"".join(side.to_bytes(3, "little") for side in sides),
        "VP8L": b"\x2f" + struct.pack("<I", sides[0] | sides[1] << 14),
        "VP8 ": b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height),
    }[kind]
    chunk = kind.encode() + struct.pack("<I", len(contents)) + contents
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def heic() -> bytes:
    return struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + bytes(64)


def few_bits_bmp() -> bytes:
    """With one bit a pixel, which exported graphs refuse."""
    return encode(scene().convert("1"), "BMP")


SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
TEXT = b"BMX bikes, Wednesday: not a picture at all, but the first two letters say bitmap.\n"
ZIP = b"PK\x05\x06" + bytes(18)


def every_format() -> dict[str, bytes]:
    """A picture of each format that is decoded, and of each kind of pixel in it."""
    return {
        "jpeg": jpeg(),
        "jpeg-progressive": jpeg(progressive=True),
        "jpeg-grey": encode(scene().convert("L"), "JPEG", quality=92),
        "jpeg-cmyk": cmyk_jpeg(),
        "jpeg-commented": jpeg(comment=b"Exif\0\0 is only said here", exif=exif(3)),
        "jpeg-turned": turned_jpeg(6),
        "png": png(),
        "png-grey": encode(scene().convert("L"), "PNG"),
        "png-late-exif": late_exif_png(8),
        "png-grey-alpha": encode(fading().convert("LA"), "PNG"),
        "png-bits": encode(scene().convert("1"), "PNG"),
        "png-alpha": encode(fading(), "PNG"),
        "png-palette": palette_png(),
        "png-palette-alpha": transparent_palette_png(),
        "png-grey16": grey16(),
        "png-rgb16": rgb16_png(),
        "png-rgba16": rgba16_png(),
        "gif": encode(scene(), "GIF"),
        "gif-animated": animation("GIF"),
        "webp": encode(scene(), "WEBP", quality=90),
        "webp-lossless": encode(scene(), "WEBP", lossless=True),
        "webp-alpha": encode(fading(), "WEBP", lossless=True, exact=True),
        "webp-animated": animation("WEBP", lossless=True),
        "bmp": encode(scene(), "BMP"),
        "bmp-grey": encode(scene().convert("L"), "BMP"),
        "bmp-palette": encode(scene().quantize(32), "BMP"),
        "bmp-32": encode(scene().convert("RGBA"), "BMP"),
        "tiff": encode(scene(), "TIFF"),
        "tiff-lzw": encode(scene(), "TIFF", compression="tiff_lzw"),
        "tiff-alpha": encode(fading(), "TIFF"),
        "tiff-grey16": grey16("TIFF"),
        "tiff-rgb16": rgb16_tiff(),
        "tiff-cmyk": encode(scene().convert("CMYK"), "TIFF"),
    }


def not_decoded() -> dict[str, bytes]:
    """A picture, or its beginning, of each format that is known and not decoded, by its name."""
    return {
        "HEIC": heic(),
        "AVIF": encode(scene(), "AVIF"),
        "SVG": SVG,
        "PSD": b"8BPS\0\1" + bytes(40),
        "ICO": encode(scene(), "ICO"),
        "JPEG 2000": encode(scene(), "JPEG2000"),
        "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
        "Netpbm": encode(scene(), "PPM"),
        "OpenEXR": b"\x76\x2f\x31\x01\2\0\0\0" + bytes(40),
        "DDS": encode(scene(), "DDS"),
    }


_MAGIC = b"\x89PNG\r\n\x1a\n"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_END = _chunk(b"IEND", b"")


def _png(rows: NDArray[np.uint8], shape: tuple[int, int, int, int], extra: bytes = b"") -> bytes:
    """Packed rows of a picture whose shape is (width, height, bits, colour type)."""
    unfiltered = np.hstack([np.zeros((len(rows), 1), np.uint8), rows])
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", *shape, 0, 0, 0))
    return _MAGIC + header + extra + _chunk(b"IDAT", zlib.compress(unfiltered.tobytes())) + _END


def _rows16(*channels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    values = np.stack(channels, axis=2).astype(">u2")
    return values.reshape(len(values), -1).view(np.uint8)
