"""One rule for every JSON document: what any text may do to it, for all of them at once."""

import dataclasses
import importlib
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from linnaeus.documents import VERSION_FIELD, Document
from linnaeus.errors import DamagedFile

ROOT = Path(__file__).parents[2]
SOURCES = [path for name in ("linnaeus", "beam_pipelines") for path in (ROOT / name).rglob("*.py")]
URI = "s3://bucket/workspace/a file.json"
PLAIN = {str: "text", int: 3, float: 0.5, bool: True, typing.Any: {"any": ["value", None]}}

READ_ELSEWHERE = {
    "linnaeus/images/isolation.py",  # between a process and its child
    "linnaeus/manifests/file_formats.py",  # the user's lists
    "linnaeus/manifests/s3_inventory.py",  # S3's
    "linnaeus/manifests/storage_events.py",  # the stores'
    "linnaeus/tables/delta_log.py",  # Delta's
    "linnaeus/workflow/on_kubernetes/cluster.py",  # answers of a REST API
    "linnaeus/workflow/on_kubernetes/launcher.py",  # what a command of ours prints
    "beam_pipelines/preflight/flink_rest.py",  # answers of a REST API
    "beam_pipelines/preflight/submission.py",  # Beam's
}


def documents() -> list[type[Document]]:
    for path in SOURCES:
        if re.search(r"^class \w+\(.*\bDocument\b", path.read_text("utf-8"), re.MULTILINE):
            parts = path.relative_to(ROOT).with_suffix("").parts
            importlib.import_module(".".join(parts))
    return sorted(_below(Document), key=lambda one: one.__qualname__)


def _below(cls: type[Document]) -> Iterator[type[Document]]:
    for one in cls.__subclasses__():
        yield one
        yield from _below(one)


def example(hint: typing.Any) -> typing.Any:
    """A value with that annotation."""
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    if dataclasses.is_dataclass(origin):
        hints = typing.get_type_hints(origin)
        return origin(**{f.name: example(hints[f.name]) for f in dataclasses.fields(origin)})
    if origin in {typing.Union, types.UnionType}:
        return example(inner[0])
    if origin in {tuple, list, Sequence}:
        return (tuple if origin is tuple else list)([example(inner[0])])
    if origin in {dict, Mapping}:
        return {"key": example(inner[1])}
    if hint is datetime:
        return datetime(2026, 3, 1, tzinfo=UTC)
    return inner[0] if origin is typing.Literal else next(iter(hint))


DOCUMENTS = documents()
every_document = pytest.mark.parametrize("kind", DOCUMENTS, ids=lambda kind: kind.__qualname__)


def refusal(kind: type[Document], text: bytes | str) -> str:
    """What is said of a text that is refused, which is one line that names the file."""
    with pytest.raises(DamagedFile) as told:
        kind.from_json(text, URI)
    said = str(told.value)
    assert URI in said
    assert "\n" not in said
    return said


def with_more(value: typing.Any) -> typing.Any:
    """JSON's form of a value, with one field more in each dataclass."""
    if dataclasses.is_dataclass(value):
        return {"of another release": [1, {}], **with_more(vars(value))}
    if isinstance(value, Mapping):
        return {key: with_more(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [with_more(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value


def values_of(kind: type[Document]) -> dict[str, typing.Any]:
    values: dict[str, typing.Any] = json.loads(example(kind).to_json())
    return values


def test_documents_are_found():
    known = {"RunSpec", "Receipt", "RunProgress", "BackboneSpec", "Model", "WorkflowRun", "Marker"}
    assert known < {kind.__name__ for kind in DOCUMENTS}


@every_document
def test_a_document_is_read_as_it_was_written(kind):
    written = example(kind)
    assert kind.from_json(written.to_json(), URI) == written
    assert kind.from_json(written.to_json().encode(), URI) == written
    assert next(iter(values_of(kind))) == VERSION_FIELD


@every_document
def test_fields_of_another_release_are_passed_over_at_any_depth(kind):
    written = example(kind)
    values = {VERSION_FIELD: values_of(kind)[VERSION_FIELD], **with_more(written)}
    assert kind.from_json(json.dumps(values), URI) == written


@every_document
def test_a_field_that_is_missing_is_named_if_it_has_no_default(kind):
    values = values_of(kind)
    for field in dataclasses.fields(kind):
        text = json.dumps({name: value for name, value in values.items() if name != field.name})
        if dataclasses.MISSING in {field.default} and field.default_factory is dataclasses.MISSING:
            assert f"it has no {field.name}" in refusal(kind, text)
        else:
            kind.from_json(text, URI)


@every_document
def test_a_field_of_another_type_is_named(kind):
    values, hints = values_of(kind), typing.get_type_hints(kind)
    deep: typing.Any = []
    for _ in range(300):
        deep = [deep]
    for name in values.keys() - {VERSION_FIELD}:
        for other in (None, [], {}, [None], {"": None}, "", 1.5, True, 7, 10**400, deep, "\ud800"):
            text = json.dumps(values | {name: other})
            try:
                kind.from_json(text, URI)
            except DamagedFile:
                assert f"its {name} cannot be understood" in refusal(kind, text)
            else:
                assert hints[name] is typing.Any or other is not deep


@every_document
def test_a_later_version_is_refused_and_so_is_none(kind):
    values = values_of(kind)
    later = json.dumps({VERSION_FIELD: values[VERSION_FIELD] + 1, "all else": "may be different"})
    assert re.search("written by a later linnaeus .*: update linnaeus", refusal(kind, later))
    for other in (0, -1, "1", None, True, 1.0, [], {}):
        assert kind._remedy in refusal(kind, json.dumps(values | {VERSION_FIELD: other}))
    del values[VERSION_FIELD]
    assert VERSION_FIELD in refusal(kind, json.dumps(values))


@every_document
def test_what_is_cut_or_no_object_is_one_line_with_the_remedy(kind):
    text = example(kind).to_json().rstrip().encode()
    cut = [text[:length] for length in range(0, len(text), max(1, len(text) // 200))]
    others = [b"null", b"[]", b"{}", b"7", b'"text"', b"NaN", b"\xff\xfe", b"\0", b"9" * 5_000]
    deep = [b"[" * 100_000, b'{"a":' * 100_000]
    for one in [*cut, text[:-1], *others, *deep]:
        assert kind._remedy in refusal(kind, one)


def test_documents_are_read_by_one_rule():
    """Whoever reads a file of the workspace does it through a `Document`."""
    reading = re.compile(r"json\.loads?\(|JSONDecode|from json import|import (or|rapid|u)json")
    found = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if reading.search(path.read_text("utf-8")) and path.name != "documents.py"
    }
    assert found <= READ_ELSEWHERE
