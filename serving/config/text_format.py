"""Configuration files of TensorFlow Serving: protocol buffers in text form."""

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from linnaeus.errors import ConfigurationError


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
        return text_format.Parse(text, message_class())
    except text_format.ParseError as error:
        raise ConfigurationError(
            f"Error parsing text-format {full_name}: {error} Invalid protobuf file: '{path}'"
        ) from error
