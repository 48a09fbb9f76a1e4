"""Files of the workspace that are read back: any may be cut short, or be somebody else's."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from linnaeus.errors import DamagedFile
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


def read_json(folder: Folder, key: str, remedy: str, build: Callable[[dict[str, Any]], T]) -> T:
    """What `build` makes of the fields of a JSON file; `dict` gives them as they are.

    Raises:
        DamagedFile: it is no object in JSON, or has not the fields.
        StorageError: it cannot be read.
    """
    with intact(folder.uri_of(key), remedy):
        fields = json.loads(folder.read(key))
        if not isinstance(fields, dict):
            raise TypeError("no JSON object")
        return build(fields)
