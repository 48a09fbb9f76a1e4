"""One rule for the JSON documents of a workspace: any may be cut short, or be somebody else's.

A document is a dataclass over `Document`. Its text has a `schema_version`, and one rule holds for
its fields: those that the version does not know are passed over, those that it lacks or cannot
understand are named, and a later version is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache, partial
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    Self,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from linnaeus.errors import ConfigurationError, DamagedFile

if TYPE_CHECKING:
    from linnaeus.storage import Folder

VERSION_FIELD = "schema_version"
_SIGNS = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)


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


@dataclass(frozen=True)
class Document:
    """Base of the dataclasses that are kept as JSON.

    Fields may be plain JSON values, `datetime`, enumerations, literals, dataclasses, sequences and
    mappings of these, each perhaps None.
    """

    _remedy: ClassVar[str]
    _version: ClassVar[int]
    _indent: ClassVar[int | None]

    def __init_subclass__(
        cls, *, remedy: str = "delete it", version: int = 1, indent: int | None = None
    ) -> None:
        """Args: what to do about a damaged one; its version; spaces by which lines are indented."""
        super().__init_subclass__()
        cls._remedy, cls._version, cls._indent = remedy, version, indent

    def to_dict(self) -> dict[str, Any]:
        """Its version and its fields, as JSON has them."""
        values: dict[str, Any] = json_values({VERSION_FIELD: self._version, **asdict(self)})
        return values

    def to_json(self) -> str:
        """Its text, which ends with its last line."""
        values = {VERSION_FIELD: self._version, **asdict(self)}
        text = json.dumps(values, indent=self._indent, ensure_ascii=False, default=_text)
        return f"{text}\n"

    @classmethod
    def from_json(cls, text: bytes | str, uri: str) -> Self:
        """The inverse of `to_json`; `uri` is where the text lies.

        Raises:
            DamagedFile: it is no such document, or one of a later version.
        """
        try:
            values = _of_type(dict, json.loads(text))
            _refuse_later(values.get(VERSION_FIELD), cls._version, uri)
            built: Self = _build(cls, values)
            return built
        except (*_SIGNS, ConfigurationError) as error:
            what = f"; {error}" if isinstance(error, _FieldError) else ""
            raise DamagedFile(f"{uri} is damaged or not linnaeus's: {cls._remedy}{what}") from error

    @classmethod
    def read_or_none(cls, folder: Folder, key: str) -> Self | None:
        """The document under a key; None where there is no such file.

        Raises:
            DamagedFile: the file is none, or of a later version.
            StorageError: it cannot be read.
        """
        data = folder.read_or_none(key)
        return None if data is None else cls.from_json(data, folder.uri_of(key))

    @classmethod
    def read_if_sound(cls, folder: Folder, key: str) -> Self | None:
        """As `read_or_none`, for who does without: None also of what raises `DamagedFile`."""
        with suppress(DamagedFile):
            return cls.read_or_none(folder, key)
        return None


def json_values(values: Any) -> Any:
    """Values as they come back from JSON: tuples are lists there, and keys text."""
    return json.loads(json.dumps(values, default=_text))


def _text(value: Any) -> str:
    """What JSON has no word for; enumerations of texts are texts already."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


class _FieldError(ValueError):
    """Which field of a document is wrong, and how."""


def _refuse_later(found: object, version: int, uri: str) -> None:
    if found is None:
        raise _FieldError(f"it has no {VERSION_FIELD}")
    if _of_type(int, found) > version:
        raise DamagedFile(
            f"{uri} was written by a later linnaeus ({VERSION_FIELD} {found}, this one reads "
            f"{version}): update linnaeus"
        )
    if found != version:
        raise _FieldError(f"nothing is known of its {VERSION_FIELD} {found}")


@cache
def _parser(hint: Any) -> Callable[[Any], Any]:
    """What makes a value with that annotation of JSON's, or raises."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if hint is Any:
        return lambda value: value
    if origin in {Union, UnionType}:
        return partial(_optional, _parser(inner[0]))
    if origin is Literal:
        return partial(_one_of, inner)
    if origin in {list, tuple, Sequence} and inner[0] in {str, int}:
        return partial(_long_sequence, tuple if origin is tuple else list, inner[0])
    if origin in {list, tuple, Sequence}:
        return partial(_sequence, tuple if origin is tuple else list, _parser(inner[0]))
    if origin in {dict, Mapping}:
        return partial(_mapping, _parser(inner[1]))
    if is_dataclass(origin):
        return partial(_build, origin)
    if hint is datetime:
        return datetime.fromisoformat
    parse: Callable[[Any], Any] = hint  # an enumeration
    return partial(_of_type, hint) if hint in {str, int, float, bool} else parse


def _optional(parse: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else parse(value)


def _one_of(choices: tuple[Any, ...], value: Any) -> Any:
    if value not in choices:
        raise ValueError
    return value


def _sequence(kind: type, parse: Callable[[Any], Any], value: Any) -> Any:
    return kind(map(parse, _of_type(list, value)))


def _long_sequence(kind: type, of: type, value: Any) -> Any:
    """As `_sequence`, but fast: a run may have thousands of shards."""
    if not set(map(type, _of_type(list, value))) <= {of}:
        raise TypeError
    return kind(value)


def _mapping(parse: Callable[[Any], Any], value: Any) -> dict[str, Any]:
    return {key: parse(one) for key, one in _of_type(dict, value).items()}


def _of_type(kind: Any, value: Any) -> Any:
    """The value, which JSON has as that type; whole numbers are floating ones, too."""
    if type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise TypeError


def _build(cls: Any, value: Any) -> Any:
    """A dataclass of an object's fields; those that it does not know are passed over."""
    parsers, values = _fields(cls), _of_type(dict, value)
    found = {name: _field(name, parse, values[name]) for name, parse in parsers if name in values}
    missing = [name for name in _required(cls) if name not in found]
    if missing:
        raise _FieldError(f"it has no {', '.join(missing)}")
    return cls(**found)


def _field(name: str, parse: Callable[[Any], Any], value: Any) -> Any:
    try:
        return parse(value)
    except _SIGNS as error:
        inner = f": {error}" if isinstance(error, _FieldError) else ""
        raise _FieldError(f"its {name} cannot be understood{inner}") from error


@cache
def _fields(cls: Any) -> list[tuple[str, Callable[[Any], Any]]]:
    hints = get_type_hints(cls)
    return [(field.name, _parser(hints[field.name])) for field in fields(cls)]


@cache
def _required(cls: Any) -> list[str]:
    return [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
