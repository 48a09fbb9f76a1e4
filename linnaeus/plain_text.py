"""Text for people, with names of other people's files in it: a terminal obeys nothing of it."""

import errno
import json
import os
import re
from tempfile import gettempdir

from linnaeus.errors import LinnaeusError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Controls, line breaks included; what turns the direction of writing round; halves of pairs."""


def plain(line: object) -> str:
    """A line in which what a terminal would obey is written out, as an escape."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], str(line))


def plain_lines(text: str) -> str:
    """The same of several lines."""
    return "\n".join(map(plain, text.split("\n")))


def plain_json(value: object) -> str:
    """The same in a line of JSON, which stands for what it stood for."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(error: Exception, hint: str = "") -> str:
    """What went wrong; `hint` says where more is told of what nobody foresaw."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno:
        where = error.filename or f"temporary files in {gettempdir()} (TMPDIR)"
        text = f"{where}: {os.strerror(error.errno)}"
    if any(os.strerror(number) in text for number in NO_SPACE):
        text += ": make room and run the same command again"
    elif not isinstance(error, LinnaeusError | OSError):
        text = f"{type(error).__name__}: {text or 'no message'} (unexpected{hint})"
    return plain(text)
