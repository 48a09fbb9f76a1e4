"""Configuration files of TensorFlow Serving: protocol buffers in text form."""

import re
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from linnaeus.errors import ConfigurationError

_COMMENT_OR_STRING = re.compile(r"""#[^\n]*|"(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?""", re.DOTALL)


def read(path: str, message_class: Any, full_name: str) -> Any:
    """The message in a file.

    Args:
        path: a local file.
        message_class: what to parse it as.
        full_name: the message's name in TensorFlow Serving's sources, for its words of refusal.

    Raises:
        ConfigurationError: the file cannot be read, or holds no such message.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    return parse(text, message_class, full_name, path)


def parse(text: str, message_class: Any, full_name: str, path: str) -> Any:
    """The message in a text; `path` is where it came from.

    Raises:
        ConfigurationError: it holds no such message.
    """
    try:
        return text_format.Parse(_on_one_line(text), message_class())
    except text_format.ParseError as error:
        raise ConfigurationError(
            f"Error parsing text-format {full_name}: {error} Invalid protobuf file: '{path}'"
        ) from error


def _on_one_line(text: str) -> str:
    """Escape line breaks in strings: TensorFlow's parser takes them, as in a certificate's PEM."""

    def escaped(match: re.Match[str]) -> str:
        found = match[0]
        return found if found.startswith("#") else found.replace("\n", "\\n")

    return _COMMENT_OR_STRING.sub(escaped, text)
