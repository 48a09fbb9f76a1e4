"""The text of a new workflow file: every setting with what it means; defaults commented out.

A comment in words begins with `# `; a setting that is commented out begins with `#`, so that it
counts as soon as that one character is taken away.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from linnaeus.workflow.file.settings import TOP, Setting, sections, settings_of, toml_value

_WIDTH = 100
_HEAD = """\
# What `linnaeus run` does every night. Relative paths are counted from this file's folder.
# A line that begins with # and a setting shows its default, or an example where it has none.
# No secrets here: credentials come from the environment or the machine's role."""


def text_of(chosen: Mapping[str, Any]) -> str:
    """A workflow file.

    Args:
        chosen: values by `section.name` (`images.location`); required settings that are not among
            them show their example, which a person has to replace.
    """
    blocks = [_HEAD, *("\n".join(_section(name, chosen)) for name in sections())]
    return "\n\n".join(blocks) + "\n"


def _section(name: str, chosen: Mapping[str, Any]) -> Iterator[str]:
    if name != TOP:
        yield f"[{name}]"
        yield from _comment(sections()[name])
    for number, setting in enumerate(settings_of(name).values()):
        if number or name != TOP:
            yield ""
        yield from _comment(_about(setting))
        value = chosen.get(setting.path)
        mark = "" if value is not None or setting.required else "#"
        yield f"{mark}{setting.name} = {toml_value(setting.shown if value is None else value)}"


def _about(setting: Setting) -> str:
    takes = f" Takes {setting.takes}." if setting.words or not _is_text(setting) else ""
    example = "" if setting.required or setting.shown == setting.default else " For example:"
    return f"{setting.description}{takes}{example}"


def _is_text(setting: Setting) -> bool:
    return isinstance(setting.shown, str)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")
