"""`linnaeus.images.decode` as TensorFlow operations, for clients that send encoded pictures.

All operations are old enough for any TensorFlow Serving in use; one that cannot decode WebP refuses
it. The pixels are close to those of `images.decode` (0.05 grey levels in the mean), not equal. What
the table of formats says cannot be done here is refused in its words. Two rare things differ, since
TensorFlow does not tell: a GIF's transparent pixels are black, and a CMYK JPEG without Adobe's
marker is taken as not inverted.
"""

from collections.abc import Callable, Sequence
from functools import partial

import tensorflow as tf

from linnaeus.errors import FailureCode
from linnaeus.images import FORMATS, MAGIC_BYTES, Format, refusals
from linnaeus.training.exporting import cost_ops, exif_ops
from linnaeus.training.exporting.exif_ops import (
    field,
    jpeg_exif,
    number,
    orientation,
    png_exif,
    webp_exif,
)

_DECODED = [one for one in FORMATS if one.exported]
_REFUSED = [one for one in FORMATS if not one.exported]
_REFUSALS = {one.name: refusals.coded(FailureCode.UNSUPPORTED, one.refusal) for one in FORMATS}
_FIRST_BYTES = 64
"""Which tell a format that is decoded: the other magic is longer."""
_SCALES = (1, 2, 4, 8)
_BAND_PIXELS = 1 << 20
_BMP_HEADER = 34
"""Bytes of it that are looked at here."""
_AT_ONCE = 2
"""Pictures of a request; a server runs many requests at once."""

ToRgb = Callable[[tf.Tensor], tf.Tensor]


def decode_images(image_bytes: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Decode and resize encoded pictures: string [N] -> uint8 [N, height, width, 3].

    One picture that cannot be decoded, or would cost too much, fails the whole batch with
    InvalidArgumentError.
    """
    return tf.map_fn(
        lambda data: _decode(data, height, width),
        image_bytes,
        fn_output_signature=tf.TensorSpec([height, width, 3], tf.uint8),
        parallel_iterations=_AT_ONCE,
    )


def _decode(data: tf.Tensor, height: int, width: int) -> tf.Tensor:
    kind = _place(field(data, 0, _FIRST_BYTES), _DECODED)
    turn = orientation(_exif(data, kind))
    size = tf.where(turn >= 5, [width, height], [height, width])
    decoders = [partial(_DECODERS[one.name], data, size) for one in _DECODED]
    across = tf.switch_case(kind, decoders, partial(_refuse, data))
    return tf.ensure_shape(_turned(_antialiased(across, size), turn), [height, width, 3])


def _place(head: tf.Tensor, formats: Sequence[Format]) -> tf.Tensor:
    """Of the first format that the bytes begin like, or the number of them: int32 []."""
    text = tf.strings.unicode_transcode(head, "ISO-8859-1", "UTF-8")  # for RE2, which reads UTF-8
    patterns = [f"(?s)(?:{one.magic.decode()}).*" for one in formats]
    matches = [tf.strings.regex_full_match(text, pattern) for pattern in patterns]
    return tf.cast(tf.where([*matches, True])[0, 0], tf.int32)


def _exif(data: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    readers = [_EXIF.get(one.name, _no_exif) for one in _DECODED]
    return tf.switch_case(kind, [partial(read, data) for read in readers], partial(_no_exif, data))


def _no_exif(data: tf.Tensor) -> tf.Tensor:
    return tf.constant(b"")


def _refuse(data: tf.Tensor) -> tf.Tensor:
    unknown = refusals.coded(FailureCode.NOT_AN_IMAGE, refusals.NO_PICTURE)
    empty = refusals.coded(FailureCode.EMPTY, refusals.EMPTY)
    known = [_REFUSALS[one.name] for one in _REFUSED]
    words = tf.gather([*known, unknown], _place(field(data, 0, MAGIC_BYTES), _REFUSED))
    refused = tf.debugging.Assert(False, [tf.where(data == b"", empty, words)])
    with tf.control_dependencies([refused]):
        return tf.zeros([1, 1, 3], tf.uint8)


def _decode_jpeg(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """DCT-scaled, as by Pillow's draft, by the most that leaves no side below `size`."""
    data = cost_ops.affordable_jpeg(data)
    scale = tf.reduce_min(tf.io.extract_jpeg_shape(data)[:2] // size)
    steps = tf.reduce_sum(tf.cast(scale >= _SCALES[1:], tf.int32))
    scaled = tf.switch_case(steps, [_jpeg_decoder(data, ratio) for ratio in _SCALES])
    return _across(scaled, size[1])


def _jpeg_decoder(data: tf.Tensor, ratio: int) -> Callable[[], tf.Tensor]:
    # Pillow's DCT method; TensorFlow's default differs from it six times as much.
    return lambda: tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _decode_gif(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    frame = cost_ops.affordable_gif(data)
    return _across(tf.io.decode_image(frame, channels=3, expand_animations=False), size[1])


def _decode_png(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Over white. Grey is opaque or transparent, but with 1, 2 or 4 bits TensorFlow's opaque alpha
    is 1, 3 or 15.
    """
    grey = number(data, 25, 1) == 0

    def opaque(rgba: tf.Tensor) -> tf.Tensor:
        colour, alpha = rgba[..., :3], rgba[..., 3:]
        alpha = tf.where(grey & (alpha > 0), tf.constant(255, tf.uint8), alpha)
        return _over_white(tf.concat([colour, alpha], axis=2))

    pixels = tf.io.decode_png(cost_ops.affordable_png(data), channels=4)
    return _across(pixels, size[1], opaque)


def _decode_webp(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The first frame, with or without alpha.

    TensorFlow 2.21 writes beyond its buffer, and so may crash, for an animation whose header
    denies alpha (it asks for 3 channels and gets 4): such a header is made to promise alpha.
    The operation is DecodeImage, which servers older than DecodeWebP know too.
    """
    data = cost_ops.affordable_webp(data)
    flags = number(data, 20, 1)
    animated = (field(data, 12, 4) == b"VP8X") & (flags & _ANIMATION != 0)
    promised = tf.gather(_BYTES, flags | _ALPHA)
    with_alpha = tf.strings.join([field(data, 0, 20), promised, field(data, 21, 1 << 40)])
    pixels = tf.cond(
        animated,
        lambda: tf.io.decode_image(with_alpha, channels=4, expand_animations=False),
        lambda: tf.io.decode_image(data, channels=0, expand_animations=False),
    )
    return _across(pixels, size[1], _opaque)


def _opaque(pixels: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.shape(pixels)[2] == 4, lambda: _over_white(pixels), lambda: pixels)


_ANIMATION, _ALPHA = 0x02, 0x10
_BYTES = [bytes([value]) for value in range(256)]


def _decode_bmp(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """With the palette looked up, which TensorFlow leaves out."""
    bits, compression = number(data, 28, 2, True), number(data, 30, 4, True)
    known = tf.reduce_any(bits == [8, 24, 32]) & (compression == 0)
    cut = tf.strings.length(data) < _BMP_HEADER
    with tf.control_dependencies([tf.debugging.Assert(known | cut, [_REFUSALS["BMP"]])]):
        pixels = tf.io.decode_bmp(cost_ops.affordable_bmp(tf.identity(data)))

    def coloured(pixels: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            bits == 8,
            lambda: tf.gather(_bmp_palette(data), tf.cast(pixels[..., 0], tf.int32)),
            lambda: pixels[..., :3],
        )

    return _across(pixels, size[1], coloured)


def _bmp_palette(data: tf.Tensor) -> tf.Tensor:
    """uint8 [colours, 3]: what lies between the header and the pixels, stored as BGR and a zero."""
    start = 14 + number(data, 14, 4, True)
    colours = (number(data, 10, 4, True) - start) // 4
    entries = tf.io.decode_raw(field(data, start, 4 * colours), tf.uint8)
    return tf.reshape(entries, [-1, 4])[:, 2::-1]


def _over_white(rgba: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 4] -> uint8 [h, w, 3]."""
    alpha = tf.cast(rgba[..., 3:], tf.float32) / 255
    return _rounded(tf.cast(rgba[..., :3], tf.float32) * alpha + 255 * (1 - alpha))


def _across(pixels: tf.Tensor, width: tf.Tensor, to_rgb: ToRgb = tf.identity) -> tf.Tensor:
    """Resized across alone, as Pillow does before it goes down: uint8 [h, w, c] -> [h, width, 3].

    Band of rows after band: as floats, all pixels would take ten times their memory.
    """
    height, rows = tf.shape(pixels)[0], tf.maximum(_BAND_PIXELS // tf.shape(pixels)[1], 1)
    few = tf.cast(height, tf.int64) * tf.cast(width, tf.int64) <= cost_ops.MOST_PIXELS
    height = exif_ops.refuse_unless(few, "rows are", cost_ops.MOST_PIXELS // width, height)

    def next_band(done: tf.Tensor) -> tuple[tf.Tensor]:
        band = to_rgb(pixels[tf.shape(done)[0] :][:rows])
        size = tf.stack([tf.shape(band)[0], width])
        return (tf.concat([done, _antialiased(band, size)], axis=0),)

    (across,) = tf.while_loop(
        lambda done: tf.shape(done)[0] < height,
        next_band,
        (tf.zeros(tf.stack([0, width, 3]), tf.uint8),),
        shape_invariants=(tf.TensorShape([None, None, 3]),),
    )
    return across


def _antialiased(pixels: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Rounded as Pillow does: uint8 -> uint8."""
    return _rounded(tf.image.resize(pixels, size, "bilinear", antialias=True))


def _rounded(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values + 0.5, tf.uint8)


def _turned(pixels: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """Apply an EXIF orientation: transposed where sideways, then mirrored."""
    pixels = tf.cond(turn >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    down, across = (_direction(turn, mirrored) for mirrored in ([3, 4, 7, 8], [2, 3, 6, 7]))
    return pixels[::down, ::across]


def _direction(turn: tf.Tensor, mirrored: list[int]) -> tf.Tensor:
    return tf.where(tf.reduce_any(turn == mirrored), -1, 1)


_DECODERS = {
    "JPEG": _decode_jpeg,
    "PNG": _decode_png,
    "GIF": _decode_gif,
    "BMP": _decode_bmp,
    "WEBP": _decode_webp,
}
"""From encoded bytes and the size to be reached (int32 [2]) to pixels resized across."""

_EXIF = {"JPEG": jpeg_exif, "PNG": png_exif, "WEBP": webp_exif}
