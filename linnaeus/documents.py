"""Files of the workspace that are read back: any may be cut short, or be somebody else's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from linnaeus.errors import DamagedFile

if TYPE_CHECKING:
    from linnaeus.storage import Folder

T = TypeVar("T")
_SIGNS = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


@contextmanager
def intact(uri: str, remedy: str) -> Iterator[None]:
    """Say in one line of a file that cannot be understood here which it is, and the remedy.

    Raises:
        DamagedFile: it cannot.
    """
    try:
        yield
    except _SIGNS as error:
        raise DamagedFile(f"{uri} is damaged or not linnaeus's: {remedy}") from error


def read(folder: Folder, key: str, remedy: str, parse: Callable[[bytes], T]) -> T | None:
    """What `parse` makes of a file's bytes; None where there is no such file.

    Raises:
        DamagedFile: it cannot make anything of them.
        StorageError: the file cannot be read.
    """
    data = folder.find(key)
    with intact(folder.uri_of(key), remedy):
        return None if data is None else parse(data)


def find(folder: Folder, key: str, parse: Callable[[bytes], T]) -> T | None:
    """As `read`, for who does without: None also of a file that cannot be understood."""
    with suppress(DamagedFile):
        return read(folder, key, "", parse)
    return None


def fields(text: bytes | str) -> dict[str, Any]:
    """An object in JSON."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("no object")
    return found
