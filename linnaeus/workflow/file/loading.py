"""Read a workflow file; whatever is wrong with it is one line with the file, the line, the remedy.

Relative paths in it are counted from the file's own folder: whoever starts a scheduled job does so
from anywhere.
"""

import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from linnaeus.errors import ConfigurationError
from linnaeus.storage import normalise, parent, read_named
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.file.messages import Document, Mistake, mistakes_in
from linnaeus.workflow.file.setting_types import FOLDER
from linnaeus.workflow.file.toml_lines import lines_of, places

_POSITION = re.compile(r" \(at line (\d+), column \d+\)$")
_END = re.compile(r" \(at end of document\)$")
_QUOTES = 'a text stands in quotes, as in key = "text", and true and false are written small'
_REMEDIES = {
    "Invalid value": _QUOTES,
    "Expected '=' after a key": "write key = value",
    "Invalid statement": "write key = value, or [section]",
    "Invalid initial character for a key": "write key = value",
    "Illegal character '\\n'": "the closing quote is missing",
    "Unterminated string": "the closing quotes are missing",
    "Unclosed array": "the closing ] or a comma is missing",
    "Unclosed inline table": "the closing } or a comma is missing",
    "Unescaped '\\'": "a text with \\ in it stands in single quotes",
    "Expected newline or end of document": "one key = value a line",
    "Expected ']'": "the closing ] of the section is missing",
}
_OURS = "write it as in toml.io"


def read_workflow(path: str | Path) -> Workflow:
    """Read a workflow file: a path, or the s3://, gs:// or az:// address of an object.

    Raises:
        ConfigurationError: it cannot be read, or something in it is wrong: `FILE:LINE: …`.
        StorageError: an object store does not give it.
    """
    name = str(path)
    return parse_workflow(name, _decoded(name, _bytes(name)))


def parse_workflow(name: str, text: str) -> Workflow:
    """The workflow of a text that stands, or is to stand, in the file of that name.

    Raises:
        ConfigurationError: something in it is wrong.
    """
    try:
        document = _document(name, text)
        workflow, error = _validated(document, parent(normalise(name)))
        mistakes = mistakes_in(document, error)
    except RecursionError as deep:
        raise _at(name, 1, "lists are nested too deeply") from deep
    if mistakes or workflow is None:
        raise _first(name, mistakes) from error
    return workflow


def _validated(
    document: Document, folder: str
) -> tuple[Workflow, None] | tuple[None, ValidationError]:
    try:
        return Workflow.model_validate(document.content, context={FOLDER: folder}), None
    except ValidationError as error:
        return None, error


def _bytes(name: str) -> bytes:
    if "://" in name:
        return read_named(normalise(name))
    try:
        return Path(normalise(name)).read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{name}: there is no such file; `linnaeus init {name}` writes one"
        ) from error
    except IsADirectoryError as error:
        raise ConfigurationError(f"{name}: a folder; name the workflow file in it") from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConfigurationError(f"{name}: cannot be read: {why}") from error


def _decoded(name: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _at(name, line, "not UTF-8: save the file with that encoding") from error
    if not text.strip():
        raise _at(name, 1, f"the file is empty: `linnaeus init --force {name}` writes a new one")
    return text.replace("\r\n", "\n")


def _document(name: str, text: str) -> Document:
    try:
        content: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(name, text, str(error)) from error
    except ValueError as error:  # such as a number of too many digits
        raise _at(name, 1, f"no TOML: {error}") from error
    return Document(content, lines_of(text))


def _no_toml(name: str, text: str, reason: str) -> ConfigurationError:
    position = _POSITION.search(reason)
    line = int(position[1]) if position else text.rstrip().count("\n") + 1
    what = _END.sub("", _POSITION.sub("", reason))
    if what.startswith(("Cannot ", "Duplicate ")):
        return _twice(name, text, line)
    remedy = next((text for begin, text in _REMEDIES.items() if what.startswith(begin)), _OURS)
    return _at(name, line, f"no TOML, {what[0].lower()}{what[1:]}: {remedy}")


def _twice(name: str, text: str, line: int) -> ConfigurationError:
    """Of a key or a section: the second place is wrong, the first is named."""
    first: dict[tuple[str | int, ...], int] = {}
    with suppress(IndexError, ValueError):  # what stands behind it may be no TOML
        for path, here in places("\n".join(text.split("\n")[:line])):
            if path in first:
                what = ".".join(map(str, path))
                reason = f"{what} stands in line {first[path]} already: keep one of them"
                return _at(name, here, reason)
            first[path] = here
    return _at(name, line, "set before, in another way of writing it: keep one of them")


def _first(name: str, mistakes: list[Mistake]) -> ConfigurationError:
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    return _at(name, mistakes[0].line, f"{mistakes[0].text}{more}")


def _at(name: str, line: int, text: str) -> ConfigurationError:
    return ConfigurationError(f"{name}:{line}: {' '.join(text.split())}")
