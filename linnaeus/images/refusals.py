"""How the refusal of a picture travels as text: a code, then words for a person.

An exported graph can say no more than an assertion's text, and TensorFlow Serving passes no more
on. What decoders of others say has no code: here is what their words stand for.
"""

import re

from linnaeus.errors import FailureCode

EMPTY = "the object is empty: store it anew"
NO_PICTURE = "the bytes are no picture"

# Pillow's words; a TIFF's unknown compression is a KeyError, which says the number alone.
_PILLOW = re.compile(
    r"Unsupported BMP|cannot handle|unknown pixel mode|.* not (yet )?supported|\d+$"
)
# TensorFlow's words, in `core/kernels/image/decode_image_op.cc`: of servers older than its WebP.
# All else that its decoders refuse is damaged, as far as they say.
_TENSORFLOW = "Unknown image file format"

_CODES = {code.value: code for code in FailureCode if code.permanent}


def coded(code: FailureCode, words: str) -> str:
    """What an exported graph says."""
    return f"{code}: {words}"


def read(text: str) -> tuple[FailureCode, str]:
    """Code and words of what an exported graph says, or a decoder of TensorFlow in it."""
    code, _, words = text.partition(": ")
    if code in _CODES:
        return _CODES[code], words
    another_kind = _TENSORFLOW in text
    return FailureCode.UNSUPPORTED if another_kind else FailureCode.CORRUPT, text


def is_of_another_kind(words: str) -> bool:
    """Whether Pillow says that it cannot decode such a picture, rather than that it is damaged."""
    return _PILLOW.match(words) is not None
