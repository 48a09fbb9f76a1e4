"""What a server's words about an image become: a code, and a sentence for a person."""

import pytest

from linnaeus.errors import FailureCode
from serving.client.refusals import code_of, reason

UNKNOWN_BYTES = (
    "assertion failed: [The bytes are no JPEG, PNG, WebP, GIF or BMP: send one of these.]"
    " [[{{function_node map_while_body_7}}{{node map/while/Assert}}]] [[map/while]]"
)
TIFF = "assertion failed: [TIFF is not decoded by the model: send a JPEG or PNG.] [[{{node x}}]]"
CUT = "Invalid JPEG data or crop window, data size 300 [[{{node DecodeJpeg}}]]"


@pytest.mark.parametrize(
    ("value", "text", "code"),
    [
        (b"", UNKNOWN_BYTES, FailureCode.EMPTY),
        (b"text", UNKNOWN_BYTES, FailureCode.NOT_AN_IMAGE),
        (b"II*\0", TIFF, FailureCode.UNSUPPORTED),
        (b"\xff\xd8", CUT, FailureCode.CORRUPT),
    ],
)
def test_the_code_says_what_is_wrong_with_the_file(value: bytes, text: str, code: FailureCode):
    assert code_of(value, text, FailureCode.CORRUPT) is code


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (UNKNOWN_BYTES, "The bytes are no JPEG, PNG, WebP, GIF or BMP: send one of these."),
        (CUT, "Invalid JPEG data or crop window, data size 300"),
        ("Missing ModelSpec", "Missing ModelSpec"),
        ("[[{{node x}}]]", "[[{{node x}}]]"),
    ],
)
def test_the_names_of_operations_are_left_out(text: str, words: str):
    assert reason(text) == words
