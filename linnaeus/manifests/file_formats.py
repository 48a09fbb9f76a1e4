"""Read a user's own list of images: CSV, JSON lines or Parquet.

The columns are `uri[,label|labels,split,weight]`. `labels` are all that apply to an image: a list,
or in a CSV file text with `|` between them.
"""

import csv
import io
import json
import math
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from linnaeus.errors import ConfigurationError
from linnaeus.manifests.splits import SYNONYMS

COLUMNS = ("uri", "label", "labels", "split", "weight")
SEPARATOR = "|"


class Row(NamedTuple):
    """One image as the user listed it; `line` counts from 1, a header included."""

    line: int
    uri: str
    label: str | None
    split: str | None
    weight: float | None
    labels: tuple[str, ...] | None = None


def is_manifest_file(name: str) -> bool:
    """Whether a name ends like that of a manifest file."""
    return _suffix(name) in _READERS


def read_rows(name: str, data: bytes) -> list[Row]:
    """Read a manifest file's rows; a mistake raises ConfigurationError with file and line."""
    rows: list[Row] = []
    line = 0
    try:
        for line, fields in _READERS[_suffix(name)](data):
            rows.append(_row(line, fields))
    except _Mistake as e:
        where = f"{name}, line {e.line or line}" if e.line or line else name
        raise ConfigurationError(f"{where}: {e}") from e
    if not rows:
        raise ConfigurationError(f"{name} lists no images: each line needs a uri")
    return rows


class _Mistake(Exception):  # noqa: N818 - never leaves this module
    """What is wrong with the file, and on which line where that is not the last one read."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


_Fields = Iterator[tuple[int, dict[str, Any]]]


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def _csv(data: bytes) -> _Fields:
    reader = csv.reader(io.StringIO(_text(data), newline=""), strict=True)
    lines = _csv_lines(reader)
    start, header = next(lines, (0, []))
    _check_separator(header, start)
    _check_columns(header, start)
    for line, values in lines:
        if len(values) != len(header):
            raise _Mistake(f"{len(values)} fields under {len(header)} columns", line)
        yield line, dict(zip(header, values, strict=True))


def _check_separator(header: list[str], line: int) -> None:
    """Spreadsheets of some languages write semicolons into what they call CSV."""
    for other, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and other in header[0]:
            raise _Mistake(f"separate the columns with commas, not with {name}", line)


def _csv_lines(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Number the rows by the line they begin on: a quoted field may hold line breaks."""
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as e:
            raise _Mistake(str(e), line) from e
        if values is None:
            return
        if values:
            yield line, values


def _json_lines(data: bytes) -> _Fields:
    for line, text in enumerate(_text(data).split("\n"), 1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise _Mistake(f"not JSON: {e}", line) from e
        if not isinstance(fields, dict):
            raise _Mistake('each line must be an object such as {"uri": "a.jpg"}', line)
        _check_columns(list(fields), line)
        yield line, fields


def _parquet(data: bytes) -> _Fields:
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as e:
        raise _Mistake(f"not a Parquet file: {str(e).splitlines()[0]}") from e
    _check_columns(table.column_names, 0)
    columns = [column.to_pylist() for column in table.columns]
    for line, values in enumerate(zip(*columns, strict=True), 1):
        yield line, dict(zip(table.column_names, values, strict=True))


_READERS: dict[str, Callable[[bytes], _Fields]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}

SUFFIXES = tuple(_READERS)


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise _Mistake("not UTF-8: save the file as UTF-8", line) from e


def _check_columns(names: Sequence[str], line: int) -> None:
    if not names:
        raise _Mistake("the file is empty: it needs at least a column uri")
    for name in names:
        if name not in COLUMNS:
            raise _Mistake(f"unknown column {name!r}{_nearest(name, COLUMNS)}", line)
    if twice := {name for name in names if list(names).count(name) > 1}:
        raise _Mistake(f"column {min(twice)!r} appears twice", line)
    if "uri" not in names:
        raise _Mistake("there is no column uri, which says where each image is", line)
    if "label" in names and "labels" in names:
        raise _Mistake("an image has a label or labels, not both: leave one column out", line)


def _nearest(word: str, valid: Iterable[str]) -> str:
    words = list(valid)
    close = get_close_matches(word.lower(), words, n=1)
    return f": do you mean {close[0]!r}?" if close else f": use {', '.join(words)}"


def _row(line: int, fields: dict[str, Any]) -> Row:
    uri = fields["uri"]
    if not isinstance(uri, str) or not uri.strip():
        raise _Mistake("the uri is missing")
    return Row(
        line,
        uri,
        _label(fields.get("label")),
        _split(fields.get("split")),
        _weight(fields.get("weight")),
        _labels(fields.get("labels")),
    )


def _labels(value: Any) -> tuple[str, ...] | None:
    """Sorted, each once; None, or an empty text, says nothing, an empty list that none applies."""
    if value is None or value == "":
        return None
    words = value.split(SEPARATOR) if isinstance(value, str) else value
    if not isinstance(words, list):
        raise _Mistake(f"the labels {value!r} are no list")
    labels = {_label(word) for word in words}
    if None in labels:
        raise _Mistake(f"the labels {value!r} hold an empty one")
    return tuple(sorted(label for label in labels if label))


def _label(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise _Mistake(f"the label {value!r} is no text")
    return value or None


def _split(value: Any) -> str | None:
    if value is None or value == "":
        return None
    word = str(value).strip().lower()
    if word not in SYNONYMS:
        raise _Mistake(f"unknown split {value!r}{_nearest(word, ('train', 'validation', 'test'))}")
    return SYNONYMS[word]


def _weight(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        weight = float(value)
    except (TypeError, ValueError) as e:
        raise _Mistake(f"the weight {value!r} is no number") from e
    if not math.isfinite(weight) or weight < 0:
        raise _Mistake(f"the weight {value!r} must not be negative or infinite")
    return weight
