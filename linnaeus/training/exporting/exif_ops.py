"""How a picture is to be turned, read from its encoded bytes with TensorFlow operations.

The counterpart of `linnaeus.images.decoding.orientation`; string [] in, so for use inside
`tf.map_fn`.
"""

from collections.abc import Callable

import tensorflow as tf

from linnaeus.errors import FailureCode
from linnaeus.images import refusals

_ORIENTATION = 0x0112
_PREFIX = b"Exif\0\0"
MOST_BLOCKS = 10_000
"""Of a picture, that are looked at one by one; each takes some 50 us."""


def orientation(block: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation, int64 [] from 1 to 8, in an EXIF block; 1 where it says nothing valid.

    Layout: Exif 2.32, 4.6.2: a TIFF header, then directory 0 with entries of 12 bytes.
    """
    prefix = tf.where(field(block, 0, 6) == _PREFIX, 6, 0)
    block = field(block, prefix, tf.strings.length(block))
    order = field(block, 0, 2)
    little = order == b"II"
    directory = number(block, 4, 4, little)
    table = field(block, directory + 2, 12 * number(block, directory, 2, little))
    entries = tf.cast(tf.io.decode_raw(table, tf.uint8), tf.int64)
    entries = tf.reshape(entries[: tf.size(entries) // 12 * 12], [-1, 12])
    tags, values = (_shorts(entries[:, start : start + 2], little) for start in (0, 8))
    turn = tf.concat([values[tags == _ORIENTATION], [1]], axis=0)[0]
    valid = (little | (order == b"MM")) & (turn >= 1) & (turn <= 8)
    return tf.where(valid, turn, tf.ones_like(turn))


def jpeg_exif(data: tf.Tensor) -> tf.Tensor:
    """The EXIF block of a JPEG, or nothing: the segments up to the start of scan."""
    start = _first(
        data,
        tf.constant(2, tf.int64),
        lambda at: (field(data, at, 2) == b"\xff\xe1") & (field(data, at + 4, 6) == _PREFIX),
        lambda at: _next_segment(data, at),
    )
    return field(data, start + 4, number(data, start + 2, 2) - 2)


def png_exif(data: tf.Tensor) -> tf.Tensor:
    """The contents of a PNG's chunk eXIf, or nothing."""
    start = _first(
        data,
        tf.constant(8, tf.int64),
        lambda at: field(data, at + 4, 4) == b"eXIf",
        lambda at: at + 12 + number(data, at, 4),
    )
    return field(data, start + 8, number(data, start, 4))


def webp_exif(data: tf.Tensor) -> tf.Tensor:
    """The contents of a WebP's chunk EXIF, or nothing."""
    little = tf.constant(True)

    def size(at: tf.Tensor) -> tf.Tensor:
        return number(data, at + 4, 4, little)

    start = _first(
        data,
        tf.constant(12, tf.int64),
        lambda at: field(data, at, 4) == b"EXIF",
        lambda at: at + 8 + size(at) + size(at) % 2,
    )
    return field(data, start + 8, size(start))


def field(data: tf.Tensor, start: tf.Tensor | int, length: tf.Tensor | int) -> tf.Tensor:
    """Bytes of `data`; fewer than `length` at its end, none beyond it."""
    start = tf.minimum(tf.cast(start, tf.int64), _length(data))
    return tf.strings.substr(data, start, tf.maximum(tf.cast(length, tf.int64), 0))


def number(
    data: tf.Tensor, start: tf.Tensor | int, length: int, little: tf.Tensor | bool = False
) -> tf.Tensor:
    """An unsigned number of `length` bytes as int64."""
    digits = tf.cast(tf.io.decode_raw(field(data, start, length), tf.uint8), tf.int64)
    digits = tf.where(little, digits, tf.reverse(digits, [0]))
    places = tf.range(tf.size(digits, tf.int64), dtype=tf.int64)
    return tf.reduce_sum(tf.bitwise.left_shift(digits, 8 * places))


def _shorts(pairs: tf.Tensor, little: tf.Tensor) -> tf.Tensor:
    """Numbers of two bytes: int64 [N, 2] -> [N]."""
    first, second = pairs[:, 0], pairs[:, 1]
    return tf.where(little, first + 256 * second, 256 * first + second)


def _next_segment(data: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    marker = field(data, at, 2)
    over = (marker == b"\xff\xda") | (field(data, at, 1) != b"\xff")
    after = tf.where(marker == b"\xff\xff", at + 1, at + 2 + number(data, at + 2, 2))
    return tf.where(over, _length(data), after)


def _first(
    data: tf.Tensor,
    start: tf.Tensor,
    found: Callable[[tf.Tensor], tf.Tensor],
    following: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """The first position that is `found`, or the end of the data."""
    end = _length(data)
    (at,) = tf.while_loop(
        lambda at: (at < end) & ~found(at),
        lambda at: (tf.minimum(following(at), end),),
        (tf.minimum(start, end),),
        maximum_iterations=MOST_BLOCKS,
    )
    return refuse_unless((at >= end) | found(at), "blocks are", MOST_BLOCKS, at)


def refuse_unless(
    condition: tf.Tensor, what: tf.Tensor | str, most: tf.Tensor | int, value: tf.Tensor
) -> tf.Tensor:
    """The value, unless `what`, such as 'blocks are', is too much."""
    code = refusals.coded(FailureCode.TOO_LARGE, "")
    words = [
        code,
        what,
        " more than the limit of ",
        tf.strings.as_string(most),
        ": make it smaller",
    ]
    with tf.control_dependencies([tf.debugging.Assert(condition, [tf.strings.join(words)])]):
        return tf.identity(value)


def _length(data: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(data), tf.int64)
