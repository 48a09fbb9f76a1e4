"""What a server's words about a request become: a limit, or a sentence for a person."""

import pytest

from serving.client.server_errors import largest_batch, reason

UNKNOWN_BYTES = (
    "assertion failed: [The bytes are no JPEG, PNG, WebP, GIF or BMP: send one of these.]"
    " [[{{function_node map_while_body_7}}{{node map/while/Assert}}]] [[map/while]]"
)
CUT = "Invalid JPEG data or crop window, data size 300 [[{{node DecodeJpeg}}]]"


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
