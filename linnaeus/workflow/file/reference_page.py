"""The settings as tables for the page about the workflow file, made from
`linnaeus.workflow.file.config`.

python -m linnaeus.workflow.file.reference_page PAGE    # puts them where they stand in the page
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from linnaeus.workflow.file.settings import TOP, Setting, sections, settings_of, toml_value

BEGIN, END = "<!-- settings begin -->", "<!-- settings end -->"


def tables() -> str:
    """All settings, a table a section."""
    return "\n".join(line for name in sections() for line in _table(name))


def with_tables(page: str) -> str:
    """A page with the tables between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


def _table(section: str) -> Iterator[str]:
    yield f"### {f'`[{section}]`' if section else 'Above the first section'}"
    yield ""
    if section != TOP:
        yield sections()[section]
        yield ""
    yield "| setting | takes | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for setting in settings_of(section).values():
        cells = (f"`{setting.name}`", setting.takes, _default(setting), setting.description)
        yield f"| {' | '.join(cells)} |"
    yield ""


def _default(setting: Setting) -> str:
    if setting.required:
        return "must be given"
    return "none" if setting.default in (None, []) else f"`{toml_value(setting.default)}`"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(with_tables(place.read_text("utf-8")), "utf-8")
