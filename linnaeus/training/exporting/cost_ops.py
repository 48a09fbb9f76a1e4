"""What a picture would cost TensorFlow's decoders, read from its bytes before one of them sees it.

They have no limits of their own: a PNG of some KB may ask for gigabytes. All take an encoded
picture, string [], and give it back, or refuse it as INVALID_ARGUMENT.
"""

import tensorflow as tf

from linnaeus.images import EXPORTED_PIXELS
from linnaeus.training.exporting.exif_ops import MOST_BLOCKS, field, number, refuse_unless

MOST_PIXELS = EXPORTED_PIXELS
"""Of what is decoded whole: up to 12 bytes each, two pictures of a request at once, in 4 GiB."""
MOST_JPEG_PIXELS = 100_000_000
"""Of a JPEG in one scan, which is decoded row by row and scaled."""
MOST_SCANNED_PIXELS = 1_000_000_000
"""Each scan of a JPEG goes over all of its pixels: some ten seconds."""
MOST_TEXTS = 100
"""Of a PNG: libpng unpacks each to eight megabytes, twice; in all, some ten seconds."""
_LONGEST_RUN = 1024
_AT_BLOCK, _IN_EXTENSION, _IN_FRAME, _OVER = range(4)


def affordable_png(data: tf.Tensor) -> tf.Tensor:
    """Layout: PNG specification, 11.2.1, and 11.3.3 for zTXt and iTXt."""
    texts = tf.size(tf.strings.split(data, b"TXt")) - 1
    data = refuse_unless(texts <= MOST_TEXTS, "texts are", MOST_TEXTS, data)
    return _affordable(data, number(data, 16, 4), number(data, 20, 4))


def affordable_bmp(data: tf.Tensor) -> tf.Tensor:
    """The height is negative where rows are stored from the top."""
    width, height = (number(data, at, 4, True) for at in (18, 22))
    return _affordable(data, width, tf.minimum(height, (1 << 32) - height))


def affordable_webp(data: tf.Tensor) -> tf.Tensor:
    """Layout: as in `linnaeus.images.decoding`."""
    kind, bits = field(data, 12, 4), number(data, 21, 4, True)
    extended = [number(data, at, 3, True) + 1 for at in (24, 27)]
    lossless = [bits % (1 << 14) + 1, bits // (1 << 14) % (1 << 14) + 1]
    lossy = [number(data, at, 2, True) % (1 << 14) for at in (26, 28)]
    sides = tf.where(kind == b"VP8X", extended, tf.where(kind == b"VP8L", lossless, lossy))
    return _affordable(data, sides[0], sides[1])


def affordable_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Several scans are first collected in memory, at full size."""
    shape = tf.cast(tf.io.extract_jpeg_shape(data), tf.int64)
    codes = tf.io.decode_raw(data, tf.uint8)
    scans = tf.size(tf.where((codes[:-1] == 0xFF) & (codes[1:] == 0xDA)), tf.int64)
    most = tf.where(scans > 1, MOST_PIXELS, MOST_JPEG_PIXELS)
    most = tf.minimum(tf.cast(most, tf.int64), MOST_SCANNED_PIXELS // tf.maximum(scans, 1))
    pixels = tf.strings.join([" pixels in ", tf.strings.as_string(scans), " scans are"])
    return _affordable(data, shape[1], shape[0], most, pixels)


def affordable_gif(data: tf.Tensor) -> tf.Tensor:
    """With its first frame alone: TensorFlow keeps the pixels of all in memory.

    Layout: GIF 89a, 18 to 26.
    """
    frame, end = _first_frame(tf.io.decode_raw(data, tf.uint8))
    alone = tf.strings.join([field(data, 0, end), b";"])
    return _affordable(alone, number(data, frame + 5, 2, True), number(data, frame + 7, 2, True))


def _first_frame(codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where it begins and ends; runs of blocks of the full 255 bytes are passed over at once."""

    def code(at: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(codes[at : at + 1], tf.int64))

    def behind_palette(at: tf.Tensor, flags: tf.Tensor) -> tf.Tensor:
        return at + tf.where(flags >= 0x80, 3 * 2 ** (flags % 8 + 1), 0)

    def behind_blocks(at: tf.Tensor) -> tf.Tensor:
        full = tf.cast(codes[at : at + 256 * _LONGEST_RUN : 256] == 255, tf.int64)
        run = tf.reduce_sum(tf.math.cumprod(full))
        return tf.where(run > 0, at + 256 * run, at + 1 + code(at))

    def step(at: tf.Tensor, stage: tf.Tensor, frame: tf.Tensor) -> tuple[tf.Tensor, ...]:
        begins, is_frame = stage == _AT_BLOCK, code(at) == 0x2C
        opened = tf.where(code(at) == 0x21, _IN_EXTENSION, tf.where(is_frame, _IN_FRAME, _OVER))
        closed = tf.where(stage == _IN_FRAME, _OVER, _AT_BLOCK)
        inside = tf.where(is_frame, behind_palette(at + 10, code(at + 9)) + 1, at + 2)
        return (
            tf.where(begins, inside, behind_blocks(at)),
            tf.where(begins, opened, tf.where(code(at) == 0, closed, stage)),
            tf.where(begins & is_frame, at, frame),
        )

    start = behind_palette(tf.constant(13, tf.int64), code(tf.constant(10, tf.int64)))
    end, stage, frame = tf.while_loop(
        lambda at, stage, frame: stage != _OVER,
        step,
        (start, tf.constant(_AT_BLOCK), start),
        maximum_iterations=MOST_BLOCKS,
    )
    return frame, refuse_unless(stage == _OVER, "blocks are", MOST_BLOCKS, end)


def _affordable(
    data: tf.Tensor,
    width: tf.Tensor,
    height: tf.Tensor,
    most: tf.Tensor | int = MOST_PIXELS,
    pixels_are: tf.Tensor | str = " pixels are",
) -> tf.Tensor:
    pixels = tf.cast(width, tf.float64) * tf.cast(height, tf.float64)  # integers might overflow
    sides = [tf.strings.as_string(width), " x ", tf.strings.as_string(height), pixels_are]
    return refuse_unless(pixels <= tf.cast(most, tf.float64), tf.strings.join(sides), most, data)
