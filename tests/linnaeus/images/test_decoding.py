import hashlib
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from PIL import Image, ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from linnaeus.errors import FailureCode, ImageError
from linnaeus.images import PREPROCESSING, Limits, decode, decoder_version, decoding
from linnaeus.images.decoding import orientation
from tests import pictures

HEIGHT, WIDTH = 48, 64
SCENE = np.asarray(pictures.scene())
EVERY_FORMAT = pictures.every_format()
JPEG_OF_12_BITS = pictures.jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c")
BMP_WITH_A_JPEG_IN_IT = EVERY_FORMAT["bmp"][:30] + b"\4" + EVERY_FORMAT["bmp"][31:]
TIFF_BY_JPEG_2000 = pictures.huge_tile_tiff(64).replace(
    struct.pack("<HHII", 259, 4, 1, 8), struct.pack("<HHII", 259, 4, 1, 33003)
)
SMALL = Limits(image_bytes=1 << 20, pixels=1 << 20)

# What each EXIF orientation does to the stored rows and columns (EXIF 2.32, 4.6.4 A), in numpy.
TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def difference(a: ArrayLike, b: ArrayLike) -> float:
    return float(np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).mean())


def code_of(data: bytes, limits: Limits = SMALL) -> FailureCode:
    with pytest.raises(ImageError) as caught:
        decode(data, 32, 32, limits)
    assert "\n" not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("kind", EVERY_FORMAT)
def test_every_format_becomes_rgb_at_the_size_asked_for(kind: str):
    picture = decode(EVERY_FORMAT[kind], 20, 30)
    assert picture.pixels.shape == (20, 30, 3)
    assert picture.pixels.dtype == np.uint8
    assert picture.format == kind.split("-", maxsplit=1)[0].upper()
    assert sorted((picture.width, picture.height)) == [HEIGHT, WIDTH]


@pytest.mark.parametrize("kind", ["png", "webp-lossless", "bmp", "bmp-32", "tiff", "tiff-lzw"])
def test_lossless_pixels_come_out_as_they_went_in(kind: str):
    np.testing.assert_array_equal(decode(EVERY_FORMAT[kind], HEIGHT, WIDTH).pixels, SCENE)


@pytest.mark.parametrize("kind", ["jpeg", "jpeg-progressive", "jpeg-cmyk", "tiff-cmyk", "webp"])
def test_lossy_and_cmyk_pixels_come_out_nearly_as_they_went_in(kind: str):
    assert difference(decode(EVERY_FORMAT[kind], HEIGHT, WIDTH).pixels, SCENE) < 2.5


@pytest.mark.parametrize("kind", ["jpeg-grey", "png-grey", "bmp-grey", "png-bits"])
def test_grey_fills_all_three_channels(kind: str):
    pixels = decode(EVERY_FORMAT[kind], HEIGHT, WIDTH).pixels
    mode = "1" if kind == "png-bits" else "L"
    assert np.ptp(pixels, axis=2).max() == 0
    assert difference(pixels[..., 0], pictures.scene().convert(mode).convert("L")) < 1.5


@pytest.mark.parametrize("kind", ["png-palette", "bmp-palette"])
def test_palette_indices_become_their_colours(kind: str):
    want = pictures.scene().quantize(32).convert("RGB")
    np.testing.assert_array_equal(decode(EVERY_FORMAT[kind], HEIGHT, WIDTH).pixels, want)


@pytest.mark.parametrize("kind", ["png-grey16", "tiff-grey16"])
def test_16_bit_grey_keeps_its_upper_8_bits(kind: str):
    pixels = decode(EVERY_FORMAT[kind], HEIGHT, WIDTH).pixels
    np.testing.assert_array_equal(pixels, np.repeat(pictures.ramp16()[..., None] >> 8, 3, axis=2))


@pytest.mark.parametrize("kind", ["png-rgb16", "tiff-rgb16"])
def test_16_bit_rgb_keeps_its_upper_8_bits(kind: str):
    ramp = pictures.ramp16() >> 8
    want = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2)
    np.testing.assert_array_equal(decode(EVERY_FORMAT[kind], HEIGHT, WIDTH).pixels, want)


@pytest.mark.parametrize("kind", ["png-alpha", "webp-alpha", "tiff-alpha"])
def test_alpha_is_laid_over_white(kind: str):
    rgba = np.asarray(pictures.fading()).astype(float)
    alpha = rgba[..., 3:] / 255
    want = rgba[..., :3] * alpha + 255 * (1 - alpha)
    pixels = decode(EVERY_FORMAT[kind], HEIGHT, WIDTH).pixels
    assert np.abs(pixels - want).max() <= 1
    assert (pixels[:, 0] == 255).all()


def test_grey_with_alpha_is_laid_over_white():
    pixels = decode(EVERY_FORMAT["png-grey-alpha"], HEIGHT, WIDTH).pixels
    assert (pixels[:, 0] == 255).all()
    assert difference(pixels[:, -1, 0], np.asarray(pictures.scene().convert("L"))[:, -1]) < 1


def test_transparent_palette_colours_become_white():
    indices = np.asarray(pictures.scene().quantize(16))
    pixels = decode(EVERY_FORMAT["png-palette-alpha"], HEIGHT, WIDTH).pixels
    assert (pixels[indices == 5] == 255).all()
    pixels = decode(pictures.transparent_gif(), HEIGHT, WIDTH).pixels
    assert (pixels[indices == 3] == 255).all()
    assert (pixels[indices != 3] != 255).any()


def test_a_transparent_16_bit_grey_becomes_white():
    value = int(pictures.ramp16()[7, 9])
    data = pictures.encode(Image.fromarray(pictures.ramp16()), "PNG", transparency=value)
    pixels = decode(data, HEIGHT, WIDTH).pixels
    assert (pixels[7, 9] == 255).all()
    assert difference(pixels[..., 0], pictures.ramp16() >> 8) < 1


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_stands_for_an_animation(file_format: str):
    pixels = decode(pictures.animation(file_format), HEIGHT, WIDTH).pixels
    other = np.asarray(pictures.scene(seed=9))
    assert difference(pixels, SCENE) < 8 < difference(pixels, other)


def test_resizing_squashes_and_antialiases_as_pillow_does():
    want = pictures.scene(300, 200).resize((31, 47), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(decode(pictures.png(300, 200), 47, 31).pixels, want)


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 5000)])
def test_extreme_shapes_decode(size: tuple[int, int]):
    picture = decode(pictures.png(*size), 24, 40)
    assert picture.pixels.shape == (24, 40, 3)
    assert (picture.width, picture.height) == size


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", TURNED)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_each_exif_turn_moves_every_pixel_where_exif_says(file_format: str, turn: int, order: str):
    want = TURNED[turn](SCENE)
    height, width, _ = want.shape
    picture = decode(pictures.turned(turn, file_format, order), height, width)
    np.testing.assert_array_equal(picture.pixels, want)
    assert (picture.height, picture.width) == (height, width)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", TURNED)
def test_a_turned_jpeg_equals_the_upright_one_turned(turn: int, order: str):
    want = TURNED[turn](decode(pictures.jpeg(), HEIGHT, WIDTH).pixels)
    height, width, _ = want.shape
    np.testing.assert_array_equal(
        decode(pictures.turned_jpeg(turn, order), height, width).pixels, want
    )


@pytest.mark.parametrize("turn", TURNED)
def test_scaled_decoding_takes_the_turn_into_account(turn: int):
    """640 x 120 upright fits 8 times into 80 x 15, but not into 15 x 80."""
    upright = decode(pictures.jpeg(640, 120), 30, 80).pixels
    want = TURNED[turn](upright)
    height, width, _ = want.shape
    picture = decode(pictures.turned_jpeg(turn, width=640, height=120), height, width)
    np.testing.assert_array_equal(picture.pixels, want)


@given(turn=st.integers(0, 70_000), order=st.sampled_from(["<", ">"]), cut=st.integers(0, 60))
def test_orientation_is_what_was_written_or_upright(turn: int, order: str, cut: int):
    block = pictures.exif(turn % 65_536, order)
    valid = turn % 65_536 in range(1, 9)
    assert orientation(block) == (turn % 65_536 if valid else 1)
    assert orientation(block[:cut]) in (1, orientation(block))


@given(st.binary(max_size=200))
def test_any_bytes_have_an_orientation(block: bytes):
    assert orientation(block) in range(1, 9)
    assert orientation(b"Exif\0\0MM\0*" + block) in range(1, 9)


def test_an_exif_block_behind_the_pixels_counts():
    pixels = decode(pictures.late_exif_png(6), WIDTH, HEIGHT).pixels
    np.testing.assert_array_equal(pixels, TURNED[6](SCENE))


def test_a_large_jpeg_is_decoded_dct_scaled():
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8)
    data = pictures.encode(Image.fromarray(noise), "JPEG", quality=92)
    full, scaled = Image.open(BytesIO(data)), Image.open(BytesIO(data))
    scaled.draft("RGB", (300, 225))
    assert scaled.size == (300, 225)
    picture = decode(data, 200, 250)
    assert (picture.width, picture.height) == (1200, 900)
    want = scaled.resize((250, 200), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(picture.pixels, want)
    assert difference(picture.pixels, full.resize((250, 200), Image.Resampling.BILINEAR)) > 1


def test_a_photograph_of_camera_size_is_near_its_full_decoding():
    full = pictures.scene(4000, 3000)
    picture = decode(pictures.jpeg(4000, 3000), 224, 224)
    want = full.resize((224, 224), Image.Resampling.BILINEAR)
    assert difference(picture.pixels, want) < 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", FailureCode.EMPTY),
        (pictures.TEXT, FailureCode.NOT_AN_IMAGE),
        (pictures.ZIP, FailureCode.NOT_AN_IMAGE),
        (bytes(1000), FailureCode.NOT_AN_IMAGE),
        (pictures.encode(Image.new("F", (8, 8)), "TIFF"), FailureCode.UNSUPPORTED),
        (JPEG_OF_12_BITS, FailureCode.UNSUPPORTED),
        (BMP_WITH_A_JPEG_IN_IT, FailureCode.UNSUPPORTED),
        (TIFF_BY_JPEG_2000, FailureCode.UNSUPPORTED),
        (pictures.bomb(), FailureCode.TOO_LARGE),
    ],
)
def test_what_is_no_picture_of_ours_is_refused_with_its_code(data: bytes, code: FailureCode):
    assert code_of(data) == code


@pytest.mark.parametrize("kind", EVERY_FORMAT)
def test_a_picture_cut_in_half_is_corrupt(kind: str):
    data = EVERY_FORMAT[kind]
    end_of_first_frame = len(data) // 2 if kind == "gif-animated" else len(data)
    assert code_of(data[: end_of_first_frame // 2]) == FailureCode.CORRUPT


def test_a_jpeg_cut_by_two_bytes_is_corrupt():
    assert code_of(pictures.jpeg()[:-2]) == FailureCode.CORRUPT


def test_limits_are_inclusive():
    data = pictures.png()
    exact = Limits(image_bytes=len(data), pixels=WIDTH * HEIGHT)
    assert decode(data, 8, 8, exact).width == WIDTH
    assert code_of(data, Limits(len(data) - 1, WIDTH * HEIGHT)) == FailureCode.TOO_LARGE
    assert code_of(data, Limits(len(data), WIDTH * HEIGHT - 1)) == FailureCode.TOO_LARGE


def test_pillows_own_limit_neither_applies_nor_changes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(pictures.png(), 8, 8).width == WIDTH
    assert Image.MAX_IMAGE_PIXELS == 10
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_odd_metadata_neither_warns_nor_fails():
    one_plane, two_planes = (struct.pack("<HHII", 284, 3, count, 1) for count in (1, 2))
    data = pictures.rgb16_tiff().replace(one_plane, two_planes)
    with pytest.warns(UserWarning, match="too many entries"):
        Image.open(BytesIO(data)).load()
    program = "import sys, linnaeus.images.decoding as i; i.decode(sys.stdin.buffer.read(), 8, 8)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        input=data,
        capture_output=True,
        check=True,
    )
    assert not done.stderr


def test_eight_threads_decode_as_one_does():
    files = list(EVERY_FORMAT.values()) * 4
    serial = [decode(data, 33, 44).pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda data: decode(data, 33, 44).pixels, files))
    for one, other in zip(serial, parallel, strict=True):
        np.testing.assert_array_equal(one, other)


def decodes_or_refuses(data: bytes) -> None:
    try:
        assert decode(data, 9, 7, SMALL).pixels.shape == (9, 7, 3)
    except ImageError as error:
        assert error.code.permanent


MAGIC = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF\0\1\0\0WEBPVP8 ",
    b"II*\0",
    b"MM\0*",
]


@pytest.mark.parametrize("piece", [b" ", b"\xef\xbb\xbf ", b"\n\t", b"<?xml <sv", b"<svg", b"\xff"])
def test_megabytes_of_nothing_are_refused_at_once(piece: bytes):
    started = time.process_time()
    code_of(piece * (8 << 20), Limits())
    assert time.process_time() - started < 1


@pytest.mark.parametrize("kind", ["VP8X", "VP8L", "VP8 "])
def test_a_webp_of_too_many_pixels_is_refused_unopened(kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(WebPImageFile, "_open", None)
    with pytest.raises(ImageError, match="16383 x 16000 pixels are more than the limit"):
        decode(pictures.webp_header(16383, 16000, kind), 8, 8)


@pytest.mark.parametrize("kind", EVERY_FORMAT)
def test_a_picture_that_is_converted_in_bands_has_the_same_pixels(
    kind: str, monkeypatch: pytest.MonkeyPatch
):
    whole = [decode(EVERY_FORMAT[kind], *size).pixels for size in [(24, 32), (70, 100), (7, 64)]]
    monkeypatch.setattr(decoding, "_BAND_PIXELS", 150)
    bands = [decode(EVERY_FORMAT[kind], *size).pixels for size in [(24, 32), (70, 100), (7, 64)]]
    for one, other in zip(whole, bands, strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.sampled_from([b"", *MAGIC]), st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_image_errors(magic: bytes, data: bytes):
    decodes_or_refuses(magic + data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(EVERY_FORMAT)), st.data())
def test_damaged_pictures_raise_nothing_but_image_errors(kind: str, draw: st.DataObject):
    data = bytearray(EVERY_FORMAT[kind])
    # Half of the damage goes into the headers, where it does most.
    place = st.integers(0, 200) | st.integers(0, len(data) - 1)
    for position in draw.draw(st.lists(place, max_size=8)):
        data[position % len(data)] ^= 1 << draw.draw(st.integers(0, 7))
    cut = draw.draw(st.just(len(data)) | st.integers(0, len(data)))
    decodes_or_refuses(bytes(data[:cut]))


def test_the_decoder_version_tells_library_and_limits():
    said = ";image_bytes=5;pixels=6;seconds=30.0;memory_bytes=7"
    assert decoder_version(Limits(5, 6, memory_bytes=7)).endswith(said)
    assert decoder_version() != decoder_version(Limits(5, 6))


def test_the_pixels_are_those_that_this_preprocessing_stands_for():
    """When this fails, pixels have changed: raise the number in PREPROCESSING."""
    rows, columns = np.mgrid[0:90, 0:120].astype(np.uint8)
    picture = Image.fromarray(np.stack([rows * 2, columns * 2, rows ^ columns], axis=2))
    data = pictures.encode(picture, "PNG", exif=pictures.exif(6))
    digest = hashlib.sha256(decode(data, 40, 50).pixels.tobytes()).hexdigest()[:16]
    assert (PREPROCESSING.rsplit(";", 1)[1], digest) == ("1", "73c3ba27ad54ff05")
