"""Why a server refused an image, in words for a person and a code for the failures table."""

import re

from linnaeus.errors import FailureCode

_WHERE = re.compile(r"\[\[\{\{.*")
"""Which operations of the graph refused: names that say nothing to those who sent an image."""
_ASSERTION = re.compile(r"assertion failed: \[(.{0,999}?)\]")

# What the exported graph says of bytes that it does not try to decode.
_CODES = {
    "The bytes are no": FailureCode.NOT_AN_IMAGE,
    "is not decoded by the model": FailureCode.UNSUPPORTED,
}


def reason(text: str) -> str:
    """A refusal without the names of a graph's operations."""
    short = _WHERE.sub("", text).rstrip()
    if found := _ASSERTION.search(short):
        short = found[1]
    return short or text


def code_of(value: bytes, text: str, otherwise: FailureCode) -> FailureCode:
    """The failure of an image that a server refused with `text`; `otherwise` if that says nothing.

    Args:
        value: the encoded image.
        text: the server's words.
        otherwise: what a request so refused has in general.
    """
    if not value:
        return FailureCode.EMPTY
    return next((code for words, code in _CODES.items() if words in text), otherwise)
