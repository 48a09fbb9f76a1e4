"""`linnaeus.images.decode` as TensorFlow operations, for clients that send encoded pictures.

All operations are old enough for any TensorFlow Serving in use; one that cannot decode WebP refuses
it. The pixels are close to those of `images.decode` (0.05 grey levels in the mean), not equal. What
cannot be done here is refused with its remedy: TIFF, and BMP that is compressed or has less than 8
bits a pixel. Two rare things differ, since TensorFlow does not tell: a GIF's transparent pixels are
black, and a CMYK JPEG without Adobe's marker is taken as not inverted.
"""

from collections.abc import Callable

import tensorflow as tf

from linnaeus.training.exporting import cost_ops, exif_ops
from linnaeus.training.exporting.exif_ops import (
    field,
    jpeg_exif,
    number,
    orientation,
    png_exif,
    webp_exif,
)

_UNKNOWN, _JPEG, _PNG, _WEBP, _GIF, _BMP, _TIFF = range(7)
_SCALES = (1, 2, 4, 8)
_BAND_PIXELS = 1 << 20
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
    kind = _kind(data)
    turn = orientation(_exif(data, kind))
    size = tf.where(turn >= 5, [width, height], [height, width])
    across = tf.switch_case(
        kind,
        {
            _UNKNOWN: _refusal("The bytes are no JPEG, PNG, WebP, GIF or BMP: send one of these."),
            _JPEG: lambda: _across(_decode_jpeg(cost_ops.affordable_jpeg(data), size), size[1]),
            _PNG: lambda: _decode_png(cost_ops.affordable_png(data), size[1]),
            _WEBP: lambda: _across(_decode_webp(cost_ops.affordable_webp(data)), size[1], _opaque),
            _GIF: lambda: _across(_decode_gif(cost_ops.affordable_gif(data)), size[1]),
            _BMP: lambda: _decode_bmp(data, size[1]),
            _TIFF: _refusal("TIFF is not decoded by the model: send a JPEG or PNG."),
        },
    )
    return tf.ensure_shape(_turned(_antialiased(across, size), turn), [height, width, 3])


def _kind(data: tf.Tensor) -> tf.Tensor:
    matches = {
        _JPEG: field(data, 0, 3) == b"\xff\xd8\xff",
        _PNG: field(data, 0, 8) == b"\x89PNG\r\n\x1a\n",
        _WEBP: (field(data, 0, 4) == b"RIFF") & (field(data, 8, 4) == b"WEBP"),
        _GIF: field(data, 0, 4) == b"GIF8",
        _BMP: field(data, 0, 2) == b"BM",
        _TIFF: (field(data, 0, 3) == b"II*") | (field(data, 0, 4) == b"MM\0*"),
    }
    return sum(kind * tf.cast(match, tf.int32) for kind, match in matches.items())


def _exif(data: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    return tf.switch_case(
        kind,
        {
            _JPEG: lambda: jpeg_exif(data),
            _PNG: lambda: png_exif(data),
            _WEBP: lambda: webp_exif(data),
            _UNKNOWN: lambda: tf.constant(b""),
        },
        default=lambda: tf.constant(b""),
    )


def _decode_jpeg(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """DCT-scaled, as by Pillow's draft, by the most that leaves no side below `size`."""
    scale = tf.reduce_min(tf.io.extract_jpeg_shape(data)[:2] // size)
    steps = tf.reduce_sum(tf.cast(scale >= _SCALES[1:], tf.int32))
    return tf.switch_case(steps, [_jpeg_decoder(data, ratio) for ratio in _SCALES])


def _jpeg_decoder(data: tf.Tensor, ratio: int) -> Callable[[], tf.Tensor]:
    # Pillow's DCT method; TensorFlow's default differs from it six times as much.
    return lambda: tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _decode_gif(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(data, channels=3, expand_animations=False)


def _decode_png(data: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Over white. Grey is opaque or transparent, but with 1, 2 or 4 bits TensorFlow's opaque alpha
    is 1, 3 or 15.
    """
    grey = number(data, 25, 1) == 0

    def opaque(rgba: tf.Tensor) -> tf.Tensor:
        colour, alpha = rgba[..., :3], rgba[..., 3:]
        alpha = tf.where(grey & (alpha > 0), tf.constant(255, tf.uint8), alpha)
        return _over_white(tf.concat([colour, alpha], axis=2))

    return _across(tf.io.decode_png(data, channels=4), width, opaque)


def _decode_webp(data: tf.Tensor) -> tf.Tensor:
    """The first frame, with or without alpha.

    TensorFlow 2.21 writes beyond its buffer, and so may crash, for an animation whose header
    denies alpha (it asks for 3 channels and gets 4): such a header is made to promise alpha.
    The operation is DecodeImage, which servers older than DecodeWebP know too.
    """
    flags = number(data, 20, 1)
    animated = (field(data, 12, 4) == b"VP8X") & (flags & _ANIMATION != 0)
    promised = tf.gather(_BYTES, flags | _ALPHA)
    with_alpha = tf.strings.join([field(data, 0, 20), promised, field(data, 21, 1 << 40)])
    return tf.cond(
        animated,
        lambda: tf.io.decode_image(with_alpha, channels=4, expand_animations=False),
        lambda: tf.io.decode_image(data, channels=0, expand_animations=False),
    )


def _opaque(pixels: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.shape(pixels)[2] == 4, lambda: _over_white(pixels), lambda: pixels)


_ANIMATION, _ALPHA = 0x02, 0x10
_BYTES = [bytes([value]) for value in range(256)]


def _decode_bmp(data: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """With the palette looked up, which TensorFlow leaves out."""
    bits, compression = number(data, 28, 2, True), number(data, 30, 4, True)
    known = tf.reduce_any(bits == [8, 24, 32]) & (compression == 0)
    remedy = "BMP that is compressed or has not 8, 24 or 32 bits a pixel: send a JPEG or PNG."
    with tf.control_dependencies([tf.debugging.Assert(known, [remedy])]):
        pixels = tf.io.decode_bmp(cost_ops.affordable_bmp(tf.identity(data)))

    def coloured(pixels: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            bits == 8,
            lambda: tf.gather(_bmp_palette(data), tf.cast(pixels[..., 0], tf.int32)),
            lambda: pixels[..., :3],
        )

    return _across(pixels, width, coloured)


def _bmp_palette(data: tf.Tensor) -> tf.Tensor:
    """uint8 [colours, 3]: what lies between the header and the pixels, stored as BGR and a zero."""
    start = 14 + number(data, 14, 4, True)
    colours = (number(data, 10, 4, True) - start) // 4
    entries = tf.io.decode_raw(field(data, start, 4 * colours), tf.uint8)
    return tf.reshape(entries, [-1, 4])[:, 2::-1]


def _refusal(message: str) -> Callable[[], tf.Tensor]:
    def refuse() -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
            return tf.zeros([1, 1, 3], tf.uint8)

    return refuse


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
