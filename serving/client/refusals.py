"""Why a server refused a request, and what is learned from it."""

import re

_WHERE = re.compile(r"\[\[\{\{.*")
"""Which operations of the graph refused: names that say nothing to those who sent an image."""
_ASSERTION = re.compile(r"assertion failed: \[(.{0,999}?)\]")

_LARGEST_BATCH = re.compile(r"larger than maximum input batch size (\d{1,9})\b")
"""TensorFlow's words, in `basic_batch_scheduler.h`."""


def largest_batch(text: str, rows: int) -> int:
    """Most rows of a request: `rows`, or fewer if that is why one was refused."""
    found = _LARGEST_BATCH.search(text)
    return max(1, min(rows, int(found[1]))) if found else rows


def reason(text: str) -> str:
    """A refusal without the names of a graph's operations."""
    short = _WHERE.sub("", text).rstrip()
    if found := _ASSERTION.search(short):
        short = found[1]
    return short or text
