from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus import images
from linnaeus.images import decoding
from tests import pictures

if TYPE_CHECKING:
    import tensorflow as tf

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 40, 56
EVERY_FORMAT = pictures.every_format()
DECODED = {kind: data for kind, data in EVERY_FORMAT.items() if not kind.startswith("tiff")}


@cache
def decoding_graph() -> Any:
    """Of a batch of pictures their pixels, traced once."""
    import tensorflow as tf

    from linnaeus.training.exporting.image_ops import decode_images

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decoded(data: tf.Tensor) -> tf.Tensor:
        return decode_images(data, HEIGHT, WIDTH)

    return decoded


@cache
def orientation_graph() -> Any:
    import tensorflow as tf

    from linnaeus.training.exporting import exif_ops

    return tf.function(exif_ops.orientation, input_signature=[tf.TensorSpec([], tf.string)])


def in_graph(data: list[bytes] | tf.Tensor) -> tf.Tensor:
    return decoding_graph()(data)


def graph_orientation(block: bytes) -> int:
    return int(orientation_graph()(block))


def differences(data: bytes) -> np.ndarray:
    """Grey levels between the graph's pixels and those of images.decode."""
    here = images.decode(data, HEIGHT, WIDTH).pixels.astype(int)
    return np.abs(in_graph([data]).numpy()[0] - here)


def assert_equal_but_for_rounding(data: bytes) -> None:
    assert differences(data).max() <= 2
    assert differences(data).mean() < 0.1


def message_of(data: bytes) -> str:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        in_graph([pictures.jpeg(), data])
    return str(caught.value)


@pytest.mark.parametrize("kind", DECODED)
def test_every_format_comes_out_as_from_the_decoder(kind: str):
    assert_equal_but_for_rounding(DECODED[kind])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_each_exif_turn_comes_out_as_from_the_decoder(file_format: str, turn: int, order: str):
    assert_equal_but_for_rounding(pictures.turned(turn, file_format, order))


def test_other_blocks_before_the_exif_block_are_passed_over():
    start, rest = pictures.turned_jpeg(6)[:2], pictures.turned_jpeg(6)[2:]
    adobes_xmp = b"\xff\xe1\x00\x1fhttp://ns.adobe.com/xap/1.0/\0"
    assert_equal_but_for_rounding(start + adobes_xmp + b"\xff" + rest)
    odd = {"icc_profile": b"odd", "exif": pictures.exif(6), "lossless": True}
    assert_equal_but_for_rounding(pictures.encode(pictures.scene(), "WEBP", **odd))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("value", [0, 1, 2, 8, 9, 65_535])
def test_an_orientation_that_is_none_is_upright(value: int, order: str):
    expected = value if 1 <= value <= 8 else 1
    assert graph_orientation(pictures.exif(value, order)) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: pictures.jpeg(1024, 768),
        lambda: pictures.jpeg(4000, 3000),
        lambda: pictures.jpeg(701, 399),
        lambda: pictures.turned_jpeg(6, width=640, height=120),
        lambda: pictures.jpeg(1024, 768, progressive=True),
    ],
    ids=["1024x768", "4000x3000", "701x399", "640x120 turned", "progressive"],
)
def test_large_jpegs_are_dct_scaled_alike(make: Callable[[], bytes]):
    assert_equal_but_for_rounding(make())


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 5000), (300, 200), (WIDTH, HEIGHT)])
def test_every_shape_is_resized_alike(size: tuple[int, int]):
    assert_equal_but_for_rounding(pictures.png(*size))


def test_a_batch_holds_pictures_of_any_kind_and_size():
    batch = [*DECODED.values(), pictures.png(301, 99)]
    pixels = in_graph(batch).numpy()
    assert pixels.shape == (len(batch), HEIGHT, WIDTH, 3)
    assert pixels.dtype == np.uint8
    for row, data in zip(pixels, batch, strict=True):
        np.testing.assert_array_equal(row, in_graph([data]).numpy()[0])


def test_no_pictures_give_no_pixels():
    import tensorflow as tf

    assert in_graph(tf.zeros([0], tf.string)).shape == (0, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("transparent", [False, True])
def test_grey_of_few_bits_is_opaque_but_where_it_is_transparent(bits: int, transparent: bool):
    data = pictures.few_bits_png(bits, transparent=0 if transparent else None)
    assert_equal_but_for_rounding(data)


def test_an_animated_webp_without_alpha_does_not_crash():
    """It does in TensorFlow 2.21, at the latest after some repetitions, if it is merely decoded."""
    data = pictures.animation("WEBP", lossless=True)
    assert not data[20] & 0x10
    in_graph([data] * 50)


def test_what_tensorflow_does_not_tell_of_a_gif_is_black():
    indices = np.asarray(pictures.scene().quantize(16).resize((WIDTH, HEIGHT), 0)) == 3
    pixels = in_graph([pictures.transparent_gif()]).numpy()[0]
    assert pixels[indices].mean() < 80


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (EVERY_FORMAT["tiff-grey16"], "UNSUPPORTED: TIFF is not decoded by the model"),
        (b"", "EMPTY: the object is empty"),
        (pictures.heic(), "UNSUPPORTED: HEIC is not decoded: make it a JPEG or PNG"),
        (pictures.ZIP, "NOT_AN_IMAGE: the bytes are no picture"),
        (pictures.TEXT, "NOT_AN_IMAGE"),
        (
            pictures.few_bits_bmp(),
            "UNSUPPORTED: BMP that is compressed or has not 8, 24 or 32 bits",
        ),
        (EVERY_FORMAT["bmp"][:30], "Incomplete bmp content"),
        (pictures.jpeg()[:-2], "Invalid JPEG"),
        (pictures.png()[:700], "Invalid PNG"),
        (EVERY_FORMAT["webp"][:-30], "WebP"),
        (pictures.bomb(), "TOO_LARGE: 60000 x 60000 pixels are more than the limit of 50000000"),
    ],
)
def test_what_cannot_be_decoded_fails_its_batch_with_a_clear_line(data: bytes, message: str):
    assert message in message_of(data)


SMALL_GIF, FRAME = pictures.encode(pictures.scene(), "GIF"), b",\0\0\0\0"
BMP_HEADER = b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + b"\xff\xff\0\0" * 2 + b"\1\0\x18\0"
LARGE = {
    "gif": lambda: SMALL_GIF.replace(FRAME + b"\x40\0\x30\0", FRAME + b"\xff" * 4),
    "bmp": lambda: BMP_HEADER + bytes(99),
    "webp": lambda: pictures.webp_header(16_383, 16_000, "VP8 "),
    "webp-lossless": lambda: pictures.webp_header(16_383, 16_000),
    "webp-extended": lambda: pictures.webp_header(16_383, 16_000, "VP8X"),
    "jpeg": lambda: pictures.jpeg().replace(b"\0\x11\x08\0\x30\0\x40", b"\0\x11\x08\xff\0\xff\0"),
    "jpeg-scans": lambda: pictures.many_scans_jpeg(2_000, 2_000, 1_000),
    "jpeg-padded": lambda: b"\xff\xd8" + b"\xff" * 100_000 + pictures.jpeg()[2:],
    "png-chunks": lambda: pictures.png()[:33] + b"\0\0\0\0abCd\0\0\0\0" * 20_000,
    "gif-comments": lambda: b"GIF89a\x08\0\x08\0\0\0\0" + b"!\xfe\1a\0" * 20_000,
    "png-texts": lambda: pictures.packed_texts(500),
    "png-tall": lambda: pictures.blank_png(1, 900_000, 0),
}


@pytest.mark.parametrize("kind", LARGE)
def test_what_would_cost_too_much_is_refused_before_it_is_decoded(kind: str):
    data = LARGE[kind]()
    started, before = time.process_time(), memory_mb("VmHWM")
    message = message_of(data)
    assert "TOO_LARGE: " in message
    assert "more than the limit of" in message
    assert time.process_time() - started < 5
    assert memory_mb("VmHWM") - before < 100


def memory_mb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) >> 10


@pytest.mark.parametrize(
    ("make", "most_mb"),
    [
        pytest.param(lambda: pictures.blank_png(7_000, 7_000, 6), 400, id="png"),
        pytest.param(lambda: pictures.blank_png(7_000, 7_000, 6, 16), 400, id="png of 16 bits"),
        pytest.param(lambda: pictures.many_scans_jpeg(7_000, 7_000, 1), 400, id="progressive jpeg"),
        pytest.param(lambda: pictures.many_frames_gif(4_000, 60), 200, id="gif of a gigapixel"),
    ],
)
def test_the_largest_pictures_take_no_copies_of_their_pixels(
    make: Callable[[], bytes], most_mb: int
):
    data = make()
    in_graph([pictures.jpeg()])
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory_mb("VmRSS")
    in_graph([data])
    assert memory_mb("VmHWM") - before < most_mb


def test_of_a_gif_the_first_frame_alone_is_decoded():
    """Behind an extension and palettes, in blocks of any length, and though the rest is cut."""
    data = pictures.animation("GIF")
    assert_equal_but_for_rounding(data)
    still = pictures.encode(pictures.scene(300, 200), "GIF")
    np.testing.assert_array_equal(in_graph([still[:-1] + b",cut"]), in_graph([still]))


BLOCKS = st.builds(pictures.exif, st.integers(0, 9), st.sampled_from("<>"))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_orientation_is_read_as_the_decoder_reads_it(draw: st.DataObject):
    block = bytearray(draw.draw(BLOCKS | st.binary(min_size=1, max_size=80)))
    for position in draw.draw(st.lists(st.integers(0, len(block) - 1), max_size=3)):
        block[position] ^= 1 << draw.draw(st.integers(0, 7))
    data = bytes(block[: draw.draw(st.integers(0, len(block)))])
    assert graph_orientation(data) == decoding.orientation(data)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(DECODED)), st.data())
def test_damaged_pictures_are_decoded_or_refused(kind: str, draw: st.DataObject):
    """No loop without end, no other error: a server sees InvalidArgument."""
    import tensorflow as tf

    data = bytearray(DECODED[kind])
    for position in draw.draw(st.lists(st.integers(0, min(len(data), 200) - 1), max_size=4)):
        data[position] ^= 1 << draw.draw(st.integers(0, 7))
    cut = draw.draw(st.just(len(data)) | st.integers(0, len(data)))
    with suppress(tf.errors.InvalidArgumentError):
        assert in_graph([bytes(data[:cut])]).shape == (1, HEIGHT, WIDTH, 3)


def test_a_saved_model_of_it_answers_alike(tmp_path: Path):
    import tensorflow as tf

    module = tf.Module()
    module.decode = decoding_graph()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.decode})
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    batch = tf.constant(list(DECODED.values()))
    (pixels,) = served(batch).values()
    np.testing.assert_array_equal(pixels, in_graph(batch))


def test_no_operation_is_newer_than_the_servers():
    graph = decoding_graph().get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    operations = {node.op for node in nodes}
    assert "DecodeImage" in operations
    assert not operations & {"DecodeWebP", "DecodeJxl"}
