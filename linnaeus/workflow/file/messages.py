"""What is wrong with a workflow file that is valid TOML: a line of the file and words for each."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from linnaeus.workflow.file import secrets
from linnaeus.workflow.file.settings import (
    TOP,
    Setting,
    all_settings,
    either,
    sections,
    settings_of,
    toml_value,
)
from linnaeus.workflow.file.toml_lines import Path

_SHOWN_CHARACTERS = 60
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake."""

    line: int
    text: str


@dataclass(frozen=True)
class Document:
    """A file as it was read: its content, and the line of each key."""

    content: Mapping[str, Any]
    lines: Mapping[Path, int]

    def line_of(self, path: Path) -> int:
        """The line of a key, or of what it would stand in."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def known_part(self, path: Path) -> Path:
        """The beginning of a path that is in the file: errors of unions say more behind it."""
        value: Any = self.content
        for length, key in enumerate(path):
            if not _has(value, key):
                return path[:length]
            value = value[key]
        return path

    def value_at(self, path: Path) -> Any:
        """What stands there."""
        value: Any = self.content
        for key in path:
            value = value[key]
        return value


def _has(value: Any, key: str | int) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and key < len(value)


def mistakes_in(document: Document, error: ValidationError | None) -> list[Mistake]:
    """Secrets, and what the validation found, the first line first; one for each place."""
    mistakes: dict[Path, str] = {}
    for path, reason in secrets.secrets_in(document.content):
        mistakes[path] = f"{_dotted(path)} {reason}"
    for one in error.errors() if error else ():
        path, message = _of(document, one)
        mistakes.setdefault(path, message)
    return sorted(Mistake(document.line_of(path), message) for path, message in mistakes.items())


def _of(document: Document, error: ErrorDetails) -> tuple[Path, str]:
    path: Path = error["loc"]
    match error["type"]:
        case "missing":
            return path, _missing(path)
        case "extra_forbidden":
            return path, _unknown(path)
        case "model_type":
            return path, _no_section(document, path)
        case "together":
            path = (*path, *error["ctx"]["keys"])
            return path, f"{_dotted(path)} {error['ctx']['message']}"
        case "value_error":
            return path, f"{_dotted(path)}: {error['ctx']['error']}"
    path = document.known_part(path)
    return path, _wrong_value(path, document.value_at(path))


def _missing(path: Path) -> str:
    if path[0] in sections():
        needed = next(one for one in settings_of(str(path[0])).values() if one.required)
        example = f"{needed.name} = {toml_value(needed.example)}"
        return f"{needed.path} is missing: write [{path[0]}] and below it {example}"
    setting = settings_of(TOP)[str(path[0])]
    line = f"{setting.name} = {toml_value(setting.example)}"
    return f"{setting.name} is missing: write {line} above the first [section]"


def _unknown(path: Path) -> str:
    *above, last = path
    key, section = str(last), str(above[0]) if above else TOP
    where = f"in [{section}]" if section else "above the first section"
    what = f"there is no {_word(key)} {where}"
    if secrets.is_secret_name(key):
        return (
            f"{what}: secrets stay out of this file, credentials come from the environment or "
            "the machine's role"
        )
    here = [*settings_of(section), *(sections() if section == TOP else ())]
    if homes := [one for one in all_settings() if one.name == key]:
        return f"{what}: it belongs {_either_home(homes)}"
    if near := _nearest(key, here):
        return f"{what}: did you mean {_header(near) if section == TOP else near}?"
    others = {one.name: one for one in all_settings()}
    if near := _nearest(key, others):
        return f"{what}: did you mean {near}, which belongs {_either_home([others[near]])}?"
    return f"{what}: there are {', '.join(filter(None, here))}"


def _header(name: str) -> str:
    return f"[{name}]" if name in sections() else name


def _either_home(homes: list[Setting]) -> str:
    named = [f"[{one.section}]" for one in homes if one.section]
    if len(named) < len(homes):
        return "above the first [section]" + (f" or in {either(named)}" if named else "")
    return f"in {either(named)}"


def _no_section(document: Document, path: Path) -> str:
    name, value = str(path[0]), document.value_at(path)
    if isinstance(value, list):
        return f"[{name}] is one section: write it once, in single brackets"
    first = next(iter(settings_of(name).values()))
    return (
        f"{name} is a section: write [{name}], and its settings below it, such as "
        f"{first.name} = {toml_value(first.shown)}"
    )


def _wrong_value(path: Path, value: Any) -> str:
    setting = settings_of(str(path[0]) if len(path) > 1 else TOP).get(
        str(path[1] if len(path) > 1 else path[0])
    )
    assert setting is not None
    setting_text = f"{_dotted(path)} = {_shown(value)}"
    near = _nearest(value, setting.words) if isinstance(value, str) else None
    if near:
        return f'{setting_text}: did you mean "{near}"? It takes {setting.takes}'
    return f"{setting_text}: it takes {setting.takes}{_hint(setting, value)}"


def _hint(setting: Setting, value: Any) -> str:
    text = isinstance(setting.shown, str)
    if isinstance(value, str) and not text:
        return ", in square brackets" if isinstance(setting.shown, list) else ", without quotes"
    if text and not isinstance(value, str | list | dict):
        return ", in quotes"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and "from 0 to 1" in setting.takes and 1 < value <= 100:
        return f"; {value:g} % is {value / 100:g}"
    return ""


def _nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one, whatever its capitals and hyphens."""
    plain = word.lower().replace("-", "_")
    spelt = {one.lower().replace("-", "_"): one for one in known if one}
    near = difflib.get_close_matches(plain, spelt, 1)
    return spelt[near[0]] if near else None


def _dotted(path: Path) -> str:
    return "".join(_steps(path)).lstrip(".")


def _steps(path: Path) -> Iterator[str]:
    for key in path:
        yield f"[{key}]" if isinstance(key, int) else f".{_word(key)}"


def _word(key: str) -> str:
    return key if _BARE.fullmatch(key) else _shortened(toml_value(key))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    plain = isinstance(value, str | bool | int | float)
    return _shortened(toml_value(value) if plain else str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
