"""The settings of a workflow file as a list, with what each takes in words.

It is made from `linnaeus.workflow.file.config`, and what reads it, a new file's comments, the
reference page and the messages about mistakes, says the same.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from linnaeus.workflow.file.config import Section, Workflow

TOP = ""
"""The section of the settings that stand above the first header."""


@dataclass(frozen=True)
class Setting:
    """One key of the file."""

    section: str
    name: str
    takes: str
    """In words, such as `a number from 0 to 1`."""
    words: tuple[str, ...]
    """Those it takes, if it takes only certain ones."""
    default: Any
    """None: there is none."""
    required: bool
    example: Any
    description: str

    @property
    def path(self) -> str:
        """As messages name it: `images.location`."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def shown(self) -> Any:
        """What a file shows of it: the default, or an example where there is none."""
        return self.example if self.default in (None, []) else self.default


@cache
def all_settings() -> tuple[Setting, ...]:
    """Every setting, in the order of the file."""
    schema = Workflow.model_json_schema()
    top, sections = {}, {}
    for name, field in schema["properties"].items():
        kind = Workflow.model_fields[name].annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            sections[name] = schema["$defs"][kind.__name__]
        else:
            top[name] = field
    tables = {TOP: {**schema, "properties": top}, **sections}
    return tuple(one for name, table in tables.items() for one in _of(name, table))


@cache
def sections() -> Mapping[str, str]:
    """What each section is about, by its name."""
    about = {
        name: field.annotation.__doc__ or ""
        for name, field in Workflow.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    return {TOP: "", **{name: " ".join(text.split()) for name, text in about.items()}}


def settings_of(section: str) -> dict[str, Setting]:
    """The settings of one section by name."""
    return {one.name: one for one in all_settings() if one.section == section}


def _of(section: str, table: Mapping[str, Any]) -> Iterator[Setting]:
    for name, field in table["properties"].items():
        default = field.get("default")
        yield Setting(
            section=section,
            name=name,
            takes=_takes(field),
            words=tuple(_words(field)),
            default=default,
            required=name in table.get("required", []),
            example=field.get("examples", [default])[0],
            description=field["description"],
        )


def _takes(field: Mapping[str, Any]) -> str:
    kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    return ", or ".join(map(_kind, kinds))


def _kind(field: Mapping[str, Any]) -> str:
    if words := list(_words(field)):
        return either([f'"{word}"' for word in words])
    if "takes" in field:
        return str(field["takes"])
    match field["type"]:
        case "integer":
            return f"a whole number{_limits(field)}"
        case "number":
            return f"a number{_limits(field)}"
        case "boolean":
            return "true or false"
        case "array":
            return "a list of texts"
    return "a text"


def _limits(field: Mapping[str, Any]) -> str:
    if "exclusiveMinimum" in field:
        return f" above {field['exclusiveMinimum']}, {field['maximum']:,} at most"
    if "maximum" in field:
        return f" from {field['minimum']} to {field['maximum']:,}"
    return f", {field['minimum']} or more"


def _words(field: Mapping[str, Any]) -> Iterator[str]:
    for kind in field.get("anyOf", [field]):
        yield from kind.get("enum", [])
        if "const" in kind:
            yield kind["const"]


def either(words: list[str]) -> str:
    """`a, b or c`."""
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)


def toml_value(value: Any) -> str:
    """A text, number, truth or list as TOML has it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
