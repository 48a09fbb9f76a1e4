"""What a server's words about a request become: a limit, or a code and a sentence for a person."""

import pytest

from linnaeus.errors import FailureCode
from serving.client.server_errors import largest_batch, read_refusal

REFUSED = (
    "assertion failed: [TOO_LARGE: 9 x 9 pixels are more than the limit of 80: make it smaller]"
    " [[{{function_node map_while_body_7}}{{node map/while/Assert}}]] [[map/while]]"
)
CUT = "Invalid JPEG data or crop window, data size 300 [[{{node DecodeJpeg}}]]"
UNKNOWN_TO_OLD_SERVERS = "Unknown image file format. One of JPEG, PNG, GIF, BMP required."


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("Task size 64 is larger than maximum input batch size 32", 32),
        ("Task size 64 is larger than maximum input batch size 512", 64),
        ("Task size 1 is larger than maximum input batch size 0", 1),
        ("Task size 64 is larger than maximum input batch size " + 400 * "9", 64),
        (CUT, 64),
    ],
)
def test_a_refusal_of_many_rows_says_how_many_may_come(text: str, rows: int):
    assert largest_batch(text, 64) == rows


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (REFUSED, "TOO_LARGE", "9 x 9 pixels are more than the limit of 80: make it smaller"),
        ("assertion failed: [EMPTY: no: bytes]", "EMPTY", "no: bytes"),
        ("assertion failed: [NOT_FOUND: odd]", "CORRUPT", "NOT_FOUND: odd"),
        (CUT, "CORRUPT", "Invalid JPEG data or crop window, data size 300"),
        (UNKNOWN_TO_OLD_SERVERS, "UNSUPPORTED", UNKNOWN_TO_OLD_SERVERS),
        ("Missing ModelSpec", "CORRUPT", "Missing ModelSpec"),
        ("[[{{node x}}]]", "CORRUPT", "[[{{node x}}]]"),
        ("", "CORRUPT", ""),
    ],
)
def test_a_refusal_has_a_code_and_words_without_the_names_of_operations(
    text: str, code: str, words: str
):
    assert read_refusal(text) == (FailureCode(code), words)
