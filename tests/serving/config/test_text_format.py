"""What TensorFlow's parser of text files takes beyond Python's."""

from typing import Any

import pytest

from linnaeus.errors import ConfigurationError
from serving.config import text_format
from serving.protocol import messages

PAIR = messages.declare("test", {"Pair": {"a": (1, "string"), "b": (2, "string")}})["Pair"]


def parsed(text: str) -> Any:
    return text_format.parse(text, PAIR, "test.Pair", "a file")


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [
        ('a: "x"', "x", ""),
        ('a: "one\ntwo\n" b: "y"', "one\ntwo\n", "y"),
        ("a: 'one\n\"two\"' b: 'y'", 'one\n"two"', "y"),
        ('# it\'s a comment\na: "x#\ny" # isn\'t it\nb: "z"', "x#\ny", "z"),
        ('a: "q\\"\nq" b: "\\\\"', 'q"\nq', "\\"),
        ('a: "x\\n" "y"', "x\ny", ""),
    ],
)
def test_strings_may_go_on_over_lines(text: str, a: str, b: str):
    message = parsed(text)
    assert (message.a, message.b) == (a, b)


@pytest.mark.parametrize("text", ['a: "x', "c: 1", "a", 'a: "x" }'])
def test_a_mistake_is_named_with_its_file(text: str):
    with pytest.raises(ConfigurationError, match=r"Error parsing text-format test.Pair.*'a file'"):
        parsed(text)
