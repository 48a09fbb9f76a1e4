"""In which line of a TOML document each key stands, which `tomllib` does not say.

The document is one that `tomllib` has read, or refused only for something that is there twice: what
is no TOML at all is not looked for here.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping

Path = tuple[str | int, ...]
"""Keys from the outermost one; a number is an array's item."""

_KEY = re.compile(r"[A-Za-z0-9_-]+|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]+")
_DOT = re.compile(r"[ \t]*\.[ \t]*")


def lines_of(document: str) -> Mapping[Path, int]:
    """The line, from 1, in which each key or item is first written, and its section begins."""
    lines: dict[Path, int] = {}
    for path, line in places(document):
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], line)
    return lines


def places(document: str) -> Iterator[tuple[Path, int]]:
    """Each key, section header and array's item as it is written, with its line, in order."""
    return _Scanner(document).document()


class _Scanner:
    """Walks over a document once; `_at` is where it is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0
        self._items: dict[Path, int] = {}
        """Of arrays of tables: the last item's number."""

    def document(self) -> Iterator[tuple[Path, int]]:
        section: Path = ()
        while self._blank_then_more():
            line = self._line_here()
            if self._text[self._at] == "[":
                section = self._header()
                yield section, line
            else:
                yield from self._pair(section)

    def _blank_then_more(self) -> bool:
        self._skip(_BLANK)
        return self._at < len(self._text)

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _header(self) -> Path:
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        *above, last = self._key()
        self._at += 2 if several else 1
        path: Path = ()
        for part in above:
            path = self._in_last_item((*path, part))
        path = (*path, last)
        if several:
            self._items[path] = self._items.get(path, -1) + 1
        return self._in_last_item(path)

    def _in_last_item(self, path: Path) -> Path:
        return (*path, self._items[path]) if path in self._items else path

    def _pair(self, section: Path) -> Iterator[tuple[Path, int]]:
        line = self._line_here()
        path = (*section, *self._key())
        yield path, line
        self._skip(_BLANK)
        self._at += 1  # the equals sign
        yield from self._value(path)

    def _key(self) -> list[str]:
        self._skip(_BLANK)
        parts = [_unquoted(self._skip(_KEY))]
        while self._skip(_DOT):
            parts.append(_unquoted(self._skip(_KEY)))
        self._skip(_BLANK)
        return parts

    def _value(self, path: Path) -> Iterator[tuple[Path, int]]:
        self._skip(_BLANK)
        match self._text[self._at]:
            case "{":
                yield from self._inline_table(path)
            case "[":
                yield from self._array(path)
            case '"' | "'":
                self._skip(_STRING)
            case _:
                self._skip(_PLAIN)

    def _inline_table(self, path: Path) -> Iterator[tuple[Path, int]]:
        while self._another("}"):
            yield from self._pair(path)

    def _array(self, path: Path) -> Iterator[tuple[Path, int]]:
        number = 0
        while self._another("]"):
            yield (*path, number), self._line_here()
            yield from self._value((*path, number))
            number += 1

    def _another(self, end: str) -> bool:
        """Pass the opening bracket or a comma; False, behind the closing one, where it ends."""
        self._skip(_BLANK)
        if self._text[self._at] != end:
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] != end:
            return True
        self._at += 1
        return False

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()


def _unquoted(key: str) -> str:
    return str(tomllib.loads(f"k = {key}")["k"]) if key.startswith(('"', "'")) else key
